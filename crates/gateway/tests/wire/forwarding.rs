//! What passes, and how it looks on the other side.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::clients::Client;
use crate::origins::{Action, Origin, ok, status};
use crate::setup::{Running, nobody, service, until};

#[tokio::test]
async fn requests_and_answers_pass_unchanged_but_for_the_hop() {
    let origin = Origin::start(|seen| {
        let method = seen.head.split(' ').next().unwrap_or_default().to_owned();
        status(
            "201 Created",
            "x-answer: 1\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=9\r\n",
            &method,
        )
    })
    .await;
    let gateway = Running::start(service(&[origin.address]));
    let mut client = gateway.client().await;

    let answer = client
        .ask(
            "POST /a/b?c=d HTTP/1.1\r\nHost: shop:8080\r\nContent-Length: 5\r\nX-Own: Kept\r\n\
             Connection: keep-alive, x-private\r\nX-Private: 1\r\nProxy-Connection: keep-alive\r\n\
             Upgrade: h2c\r\nTE: trailers\r\nX-Forwarded-For: 192.0.2.1\r\n\
             X-Forwarded-Proto: https\r\nVia: 1.1 cdn\r\n\r\nhello",
        )
        .await;

    assert_eq!((answer.status, answer.text()), (201, "POST"));
    assert_eq!(answer.field("x-answer"), Some("1"));
    assert_eq!(answer.field("x-hop"), None);
    assert_eq!(answer.field("keep-alive"), None);
    let seen = &origin.seen()[0];
    assert!(
        seen.head.starts_with("POST /a/b?c=d HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    assert_eq!(seen.body, b"hello");
    assert_eq!(seen.field("host"), Some("shop:8080"));
    assert_eq!(seen.field("x-own"), Some("Kept"));
    assert_eq!(seen.field("content-length"), Some("5"));
    assert_eq!(seen.field("te"), Some("trailers"));
    assert_eq!(seen.field("x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.field("x-forwarded-host"), Some("shop:8080"));
    assert_eq!(seen.field("via"), Some("1.1 cdn, 1.1 mainstay-test-pay"));
    for gone in [
        "connection",
        "x-private",
        "proxy-connection",
        "upgrade",
        "transfer-encoding",
    ] {
        assert_eq!(seen.field(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn answers_without_a_body_stay_without() {
    let origin = Origin::start(|seen| {
        if seen.head.contains("/204") {
            Action::Reply(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())
        } else if seen.head.contains("/304") {
            Action::Reply(b"HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n".to_vec())
        } else {
            Action::Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n".to_vec())
        }
    })
    .await;
    let gateway = Running::start(service(&[origin.address]));
    let mut client = gateway.client().await;

    let head = client.ask("HEAD /x HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("1234"))
    );
    let unchanged = client.get("/304").await;
    assert_eq!(
        (unchanged.status, unchanged.field("etag")),
        (304, Some("\"a\""))
    );
    let empty = client.get("/204").await;
    assert_eq!((empty.status, empty.field("content-length")), (204, None));

    let connections: Vec<usize> = origin.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0], "one connection serves all of them");
}

#[tokio::test]
async fn chunks_and_trailers_pass_both_ways() {
    let origin = Origin::start(|seen| {
        let body = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
             {:x}\r\n{}\r\n3\r\nend\r\n0\r\nx-sum: 7\r\n\r\n",
            seen.body.len(),
            String::from_utf8_lossy(&seen.body),
        );
        Action::Reply(body.into_bytes())
    })
    .await;
    let gateway = Running::start(service(&[origin.address]));
    let mut client = gateway.client().await;

    for _ in 0..2 {
        let answer = client
            .ask(
                "PUT / HTTP/1.1\r\nhost: test\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n\
                 4;ext=1\r\nfour\r\n3\r\n+3!\r\n0\r\nx-check: 9\r\n\r\n",
            )
            .await;
        assert_eq!((answer.status, answer.text()), (200, "four+3!end"));
        assert_eq!(answer.trailers, "x-sum: 7\r\n");
    }
    let seen = origin.seen();
    assert_eq!(seen[0].body, b"four+3!");
    assert_eq!(seen[0].field("transfer-encoding"), Some("chunked"));
    assert_eq!(seen[0].trailers, "x-check: 9\r\n");
    assert_eq!(seen[1].connection, 0, "the connection was kept");
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_is_whole() {
    let origin = Origin::start(|_| {
        Action::Last(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nto the end".to_vec())
    })
    .await;
    let gateway = Running::start(service(&[origin.address]));
    let mut client = gateway.client().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.text(), "to the end");
    }
}

#[tokio::test]
async fn a_cut_answer_is_cut_for_the_client_too() {
    for cut in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let origin = Origin::start(move |_| Action::Last(cut.into())).await;
        let gateway = Running::start(service(&[origin.address]));
        let mut client = gateway.client().await;
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        assert!(client.try_answer(false).await.is_none(), "{cut:?}");
        until("the endpoint is charged", || {
            gateway.status().endpoints[0].failures == 1
        })
        .await;
    }
}

#[tokio::test]
async fn the_body_is_asked_for_only_when_the_endpoint_wants_it() {
    let origin = Origin::start(|seen| ok(&format!("{} bytes", seen.body.len()))).await;
    let gateway = Running::start(service(&[origin.address]));
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        .await;
    let leave = client.answer(false).await;
    assert_eq!(leave.status, 100);
    assert_eq!(origin.seen().len(), 0, "the endpoint waits for the body");
    let answer = client.ask("abc").await;
    assert_eq!((answer.status, answer.text()), (200, "3 bytes"));

    // Nobody there: the answer comes without the body ever being asked for.
    let nobody = Running::start(service(&[nobody().await]));
    let mut client = nobody.client().await;
    let answer = client
        .ask("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!((answer.status, answer.reason()), (502, "upstream_connect"));
}

#[tokio::test]
async fn large_bodies_stream_both_ways_at_once() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 400;
    // The endpoint sends back what comes in, long before all of it came in.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    let mut echo = tokio::task::JoinSet::new();
    echo.spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the gateway connects");
        let mut head = vec![0; 4096];
        let count = tokio::io::AsyncReadExt::read(&mut stream, &mut head).await;
        let head = String::from_utf8_lossy(&head[..count.expect("a head comes")]).into_owned();
        let body = head
            .split_once("\r\n\r\n")
            .expect("the head is whole")
            .1
            .to_owned();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            CHUNK * CHUNKS
        );
        stream
            .write_all(answer.as_bytes())
            .await
            .expect("the gateway reads");
        stream
            .write_all(body.as_bytes())
            .await
            .expect("the gateway reads");
        let (mut read, mut write) = stream.split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    });
    let gateway = Running::start(service(&[address]));
    let client = gateway.client().await;
    let (read, mut write) = client.stream.into_split();
    let mut sender = tokio::task::JoinSet::new();
    sender.spawn(async move {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n",
            CHUNK * CHUNKS
        );
        write
            .write_all(head.as_bytes())
            .await
            .expect("the gateway reads");
        for index in 0..CHUNKS {
            let chunk = vec![u8::try_from(index % 251).unwrap_or_default(); CHUNK];
            write.write_all(&chunk).await.expect("the gateway reads");
        }
        write
    });
    let mut read = tokio::io::BufReader::new(read);
    let mut line = String::new();
    while !line.ends_with("\r\n\r\n") {
        tokio::io::AsyncBufReadExt::read_line(&mut read, &mut line)
            .await
            .expect("a head comes");
    }
    let mut chunk = vec![0; CHUNK];
    for index in 0..CHUNKS {
        tokio::io::AsyncReadExt::read_exact(&mut read, &mut chunk)
            .await
            .expect("it all comes back");
        let byte = u8::try_from(index % 251).unwrap_or_default();
        assert!(chunk.iter().all(|other| *other == byte), "chunk {index}");
    }
    drop(sender.join_next().await);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|seen| ok(seen.head.split(' ').nth(1).unwrap_or_default())).await;
    let gateway = Running::start(service(&[origin.address]));
    let mut client = gateway.client().await;
    let requests: String = (0..50)
        .map(|index| match index % 2 {
            0 => format!("GET /{index} HTTP/1.1\r\nhost: test\r\n\r\n"),
            _ => format!("POST /{index} HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nab"),
        })
        .collect();
    client.send(requests).await;
    for index in 0..50 {
        assert_eq!(client.answer(false).await.text(), format!("/{index}"));
    }
}

#[tokio::test]
async fn an_early_answer_passes_while_the_body_is_still_coming() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    let mut origin = tokio::task::JoinSet::new();
    origin.spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the gateway connects");
        let mut head = [0; 1024];
        drop(tokio::io::AsyncReadExt::read(&mut stream, &mut head).await);
        let refusal = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig";
        stream.write_all(refusal).await.expect("the gateway reads");
        tokio::time::sleep(Duration::from_mins(1)).await;
    });
    let gateway = Running::start(service(&[address]));
    let mut client = gateway.client().await;
    let answer = client
        .ask("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\nstart")
        .await;
    assert_eq!((answer.status, answer.text()), (413, "big"));
}

#[tokio::test]
async fn a_client_without_a_host_and_one_that_closes_are_served() {
    let origin = Origin::start(|_| ok("hi")).await;
    let gateway = Running::start(service(&[origin.address]));
    let mut old = gateway.client().await;
    let answer = old.ask("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status, answer.text()), (200, "hi"));
    assert!(old.rest().await.is_empty(), "HTTP/1.0 closes");
    assert_eq!(origin.seen()[0].field("host"), Some("pay"));

    let mut last = gateway.client().await;
    let answer = last
        .ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(answer.status, 200);
    assert!(last.rest().await.is_empty());
}

#[tokio::test]
async fn a_request_that_comes_back_is_a_loop() {
    let origin = Origin::start(|_| ok("hi")).await;
    let gateway = Running::start(service(&[origin.address]));
    let mut client = gateway.client().await;
    let answer = client
        .ask("GET / HTTP/1.1\r\nhost: a\r\nvia: 1.1 x, 1.1 mainstay-test-pay\r\n\r\n")
        .await;
    assert_eq!((answer.status, answer.reason()), (508, "loop_detected"));
    assert_eq!(origin.seen().len(), 0);
}

#[tokio::test]
async fn invalid_answers_are_the_endpoints_failure() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        let origin = Origin::start(move |_| Action::Reply(answer.into())).await;
        let gateway = Running::start(service(&[origin.address]));
        let answered = gateway.client().await.get("/").await;
        assert_eq!(
            (answered.status, answered.reason()),
            (502, "upstream_protocol"),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn bytes_after_an_answer_do_not_become_the_next_one() {
    let origin = Origin::start(|seen| {
        if seen.connection == 0 {
            let poison = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npoisoned";
            Action::Reply(format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{poison}").into())
        } else {
            ok("ok")
        }
    })
    .await;
    let gateway = Running::start(service(&[origin.address]));
    let mut client = gateway.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "ok");
    }
}

#[tokio::test]
async fn a_connection_that_the_endpoint_closed_while_idle_is_not_used() {
    // Each connection serves one request and then closes without having said so.
    let origin =
        Origin::start(|_| Action::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()))
            .await;
    let gateway = Running::start(service(&[origin.address]));
    let mut client = gateway.client().await;
    for round in 0..20 {
        let answer = client
            .ask("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\nx")
            .await;
        assert_eq!(answer.status, 200, "round {round}");
        // The end has to arrive before the next request; a POST is not sent twice.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(origin.seen().len(), 20);
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_request_and_is_nobodys_failure() {
    let origin = Origin::start(|_| Action::Hang).await;
    let gateway = Running::start(service(&[origin.address]));
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    until("the request is in flight", || origin.seen().len() == 1).await;
    assert_eq!(gateway.status().endpoints[0].in_flight, 1);
    drop(client);
    until("the request is gone", || {
        gateway.status().endpoints[0].in_flight == 0
    })
    .await;
    assert_eq!(gateway.status().endpoints[0].failures, 0);
    assert_eq!(gateway.status().in_flight, 0);
}

#[tokio::test]
async fn two_gateways_cannot_share_a_port() {
    let origin = Origin::start(|_| ok("hi")).await;
    let first = Running::start(service(&[origin.address]));
    let mut second = service(&[origin.address]);
    second.listen = first.address;
    let config = mainstay_gateway::config::Config {
        services: vec![second],
        ..first.config.clone()
    };
    let error = mainstay_gateway::Gateway::bind(config, mainstay_observe::Observer::new("test"))
        .expect_err("the port is taken");
    let sentence = error.to_string();
    assert!(
        sentence.contains(&format!("`pay` cannot listen on {}", first.address)),
        "{sentence}"
    );
    drop(Client::connect(first.address).await);
}

#[tokio::test]
async fn an_endpoint_that_restarts_on_its_port_is_used_again() {
    let origin = Origin::start(|_| ok("before")).await;
    let address = origin.address;
    let gateway = Running::start(service(&[address]));
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.text(), "before");
    origin.stop().await;
    let gone = client.get("/").await;
    assert_eq!(gone.status, 502, "{gone:?}");
    let _origin = Origin::start_at(address, |_| ok("after")).await;
    assert_eq!(client.get("/").await.text(), "after");
}
