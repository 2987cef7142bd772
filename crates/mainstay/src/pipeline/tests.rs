#[test]
fn futures_are_send() {
    fn is_send<F: Future + Send>(f: F) -> F {
        f
    }
    let p = crate::Pipeline::builder("x").build().unwrap();
    let mutable = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let s = String::from("x");
    drop(is_send(async move {
        let p2 = p.clone();
        let r = p
            .call(async |a| {
                tokio::task::yield_now().await;
                mutable.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Err::<usize, _>(format!("{}{}", &s, a.number))
            })
            .await;
        let q = p2
            .call_with(
                async |_| {
                    tokio::task::yield_now().await;
                    Ok::<_, ()>(s.len())
                },
                crate::classify::ErrorsFail,
            )
            .await;
        (r, q)
    }));
}
