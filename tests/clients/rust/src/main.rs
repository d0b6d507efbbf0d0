//! reqwest over rustls, with nothing set up in code but the choice of a version.

use std::io::Write as _;

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let mut arguments = std::env::args().skip(1);
    let column = arguments.next().ok_or("no column")?;
    let url = arguments.next().ok_or("no URL")?;
    let mut builder = reqwest::Client::builder();
    if column == "h1" {
        builder = builder.http1_only();
    }
    let client = builder.build()?;
    let request = match column.as_str() {
        "upload" => client.post(&url).body(vec![0_u8; 5_000_000]),
        _ => client.get(&url),
    };
    let key = std::env::var("DEMO_KEY")?;
    let mut answer = request.bearer_auth(key).send().await?.error_for_status()?;
    let mut length = 0;
    while let Some(part) = answer.chunk().await? {
        length += part.len();
        if column != "download" {
            std::io::stdout().write_all(&part)?;
            std::io::stdout().flush()?;
        }
    }
    println!("got {length}\n{:?}\ndone", answer.headers());
    Ok(())
}
