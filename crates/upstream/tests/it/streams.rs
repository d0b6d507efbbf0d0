//! Bodies on HTTP/2 streams.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use agent_vault_upstream::http2::{Lingering, Received};
use bytes::Bytes;
use h2::Reason;
use http::{Request, Response};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

/// A client that is answered in the middle of its upload: with a body that lingers it is not told at once to stop.
#[tokio::test]
async fn a_body_that_lingers_resets_nothing_when_it_is_dropped() {
    for places in [0, 1] {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let mut peers = JoinSet::new();
        peers.spawn(async move {
            let lingering = Lingering {
                tasks: TaskTracker::new(),
                time: Duration::from_secs(3600),
                places: Arc::new(Semaphore::new(places)),
            };
            let mut server = h2::server::handshake(far).await.unwrap();
            while let Some(Ok((request, mut respond))) = server.accept().await {
                let (parts, stream) = request.into_parts();
                let body = Received::new(stream, &parts.headers).lingering(&lingering);
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
            Poll::Pending => assert_eq!(places, 1),
            Poll::Ready(reason) => {
                assert_eq!(places, 0);
                assert_eq!(reason.unwrap(), Reason::NO_ERROR);
            }
        }
    }
}
