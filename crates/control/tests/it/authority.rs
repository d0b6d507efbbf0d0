//! The certificate authority's record.

use agent_vault_seal::SecretBytes;

use crate::instance::Instance;

#[tokio::test]
async fn two_processes_that_start_at_once_end_with_one_authority() {
    let instance = Instance::new().await;
    let other = instance.other().await;
    assert!(instance.control.authority().load().await.unwrap().is_none());
    let (one, two) = (
        SecretBytes::new(b"key one".to_vec()),
        SecretBytes::new(b"key two".to_vec()),
    );
    let (mine, theirs) = (instance.control.authority(), other.authority());
    let (a, b) = tokio::join!(
        mine.install("certificate one".to_owned(), &one),
        theirs.install("certificate two".to_owned(), &two),
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!((&a.0, a.1.expose()), (&b.0, b.1.expose()));
    let pair = if a.0.ends_with("one") {
        &b"key one"[..]
    } else {
        b"key two"
    };
    assert_eq!(a.1.expose(), pair);
    let stored = other.authority().load().await.unwrap().unwrap();
    assert_eq!((stored.0, stored.1.expose()), (a.0, pair));
    let records = instance.store.audit_page(None, 10).await.unwrap();
    assert_eq!(
        records
            .iter()
            .filter(|record| record.action == "ca.create")
            .count(),
        1
    );
}
