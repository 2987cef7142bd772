#!/usr/bin/env bash
# Made the PEM files beside it, by OpenSSL 3.0. Kept to say what they are: whoever runs it again gets other keys.
set -euo pipefail
cd "$(dirname "$0")"
days=36500

# authority NAME: its certificate alone, and its key for as long as this runs.
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days $days -subj "/CN=$1" -keyout "$1.key" -out "$1.pem"
}
# member NAME COMMON_NAME AUTHORITY [EXTENSION]: a key with its certificate, of version 1 where there is no extension.
member() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" -keyout "$1.key" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -days $days -out "$1.crt" \
    ${4:+-extfile <(printf '%s\n' "$4")}
  cat "$1.key" "$1.crt" > "$1.pem"
}
authority authority
authority other
member here here authority "subjectAltName=IP:127.0.0.1,DNS:localhost"
member elsewhere localhost authority "subjectAltName=DNS:elsewhere"
member nameless localhost authority "basicConstraints=CA:FALSE"
member old localhost authority
member stranger here other "subjectAltName=IP:127.0.0.1,DNS:localhost"
rm -f ./*.key ./*.csr ./*.crt ./*.srl other.pem
