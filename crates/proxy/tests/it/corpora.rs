//! Replays the corpora of the fuzz targets through the same entries.

#[path = "../../../../fuzz/entries/proxy.rs"]
#[expect(
    unreachable_pub,
    reason = "shared with the fuzz crate, where it is a library"
)]
mod entries;

use std::path::Path;

#[test]
fn what_a_fuzzer_once_found_stays_found() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, entry) in entries::ENTRIES {
        let folder = corpus.join(name);
        let mut seen = 0;
        for file in std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = file.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            // The name of the file stands in the output of a failing test.
            println!("{}", path.display());
            entry(&data);
            seen += 1;
        }
        assert!(seen > 0, "{name} has no corpus");
        entry(b"");
    }
}
