//! The configuration that `mainstay run` uses when there is none: a small payment service.

/// What the built-in example is called where a file's path would stand.
pub const PATH: &str = "<built-in example>";

/// Three replicas of the payment service that ships in the binary, with the policies that its
/// users would want.
pub const SOURCE: &str = r#"# The built-in example: a small payment service, three replicas, one gateway.
version = 1

[service.payment]
listen   = "127.0.0.1:8080"
health   = { http = "/healthz", every = "500ms" }
timeout  = { total = "2s", attempt = "500ms" }
fallback = ["stale 10m", { status = 503, json = { error = "try again in a moment" } }]

[service.payment.run]
command  = ["{mainstay}", "payment", "--port", "{port}", "--name", "{replica}", "--ledger", "{data_dir}/payments"]
replicas = 3
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Machine};

    #[test]
    fn the_example_is_right() {
        let config = Config::parse(PATH, SOURCE, &Machine::here()).expect("it ships in the binary");
        assert_eq!(config.services.len(), 1);
    }
}
