//! Bodies on HTTP/2 streams.

use std::task::Poll;
use std::time::Duration;

use agent_vault_upstream::http2::Received;
use bytes::Bytes;
use h2::Reason;
use http::{Request, Response};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

/// A client that is answered in the middle of its upload: with a body that lingers it is not told at once to stop.
#[tokio::test]
async fn a_body_that_lingers_resets_nothing_when_it_is_dropped() {
    for lingers in [false, true] {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let mut peers = JoinSet::new();
        peers.spawn(async move {
            let tasks = TaskTracker::new();
            let mut server = h2::server::handshake(far).await.unwrap();
            while let Some(Ok((request, mut respond))) = server.accept().await {
                let (parts, stream) = request.into_parts();
                let mut body = Received::new(stream, &parts.headers);
                if lingers {
                    body = body.lingering(&tasks, Duration::from_secs(3600));
                }
                respond.send_response(Response::new(()), true).unwrap();
                drop(body);
            }
        });
        let (sender, mut client) = h2::client::handshake(near).await.unwrap();
        let mut pings = client.ping_pong().unwrap();
        peers.spawn(async move { client.await.unwrap_or_default() });
        let request = Request::post("https://a.test/").body(()).unwrap();
        let mut sender = sender.ready().await.unwrap();
        let (response, mut upload) = sender.send_request(request, false).unwrap();
        upload
            .send_data(Bytes::from_static(b"half"), false)
            .unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
        // What was sent with the answer has come when a ping that was sent later is answered.
        pings.ping(h2::Ping::opaque()).await.unwrap();
        let reset = std::future::poll_fn(|cx| Poll::Ready(upload.poll_reset(cx))).await;
        match reset {
            Poll::Pending => assert!(lingers),
            Poll::Ready(reason) => {
                assert!(!lingers);
                assert_eq!(reason.unwrap(), Reason::NO_ERROR);
            }
        }
    }
}
