#!/usr/bin/env bash
# Made the PKCS #12 stores beside it, by keytool of OpenJDK 17 and OpenSSL 3.0. Kept to say what they are: whoever runs it
# again gets other keys.
set -euo pipefail
cd "$(dirname "$0")"
rm -f ./*.p12
lock=apassword

# As keytool writes them by default: AES-256 and HMAC with SHA-256. An RSA key, its chain, and a trusted certificate.
keytool -importkeystore -srckeystore server.jks -srcstorepass $lock -destkeystore keytool.p12 -deststoretype pkcs12 \
  -deststorepass $lock
# What is trusted alone; and what nobody marked as trusted.
keytool -importcert -noprompt -alias ca -file ca.pem -keystore trust.p12 -storepass $lock
openssl pkcs12 -export -nokeys -in ca.pem -out unmarked.p12 -passout pass:$lock
# As they were before: RC2 with 40 bits, 3DES, and HMAC with SHA-1. The same key.
openssl pkcs12 -in keytool.p12 -passin pass:$lock -nodes -nocerts -out key.pem
openssl pkcs12 -in keytool.p12 -passin pass:$lock -clcerts -nokeys -out own.pem
openssl pkcs12 -export -legacy -inkey key.pem -in own.pem -certfile ca.pem -name old -out legacy.p12 -passout pass:$lock
# As OpenSSL 3 writes them; and with neither a lock nor a sum.
openssl pkcs12 -export -inkey key.pem -in own.pem -certfile ca.pem -out openssl.p12 -passout pass:$lock
openssl pkcs12 -export -inkey key.pem -in own.pem -out open.p12 -passout pass: -certpbe NONE -keypbe NONE -nomac
rm key.pem own.pem
# Two keys, of which the second is of elliptic curves; one alone; one that ended.
keytool -genkeypair -alias first -keyalg RSA -keysize 2048 -dname CN=localhost -validity 36500 -keystore two.p12 -storepass $lock
keytool -genkeypair -alias second -keyalg EC -dname CN=localhost -validity 36500 -keystore two.p12 -storepass $lock
keytool -genkeypair -alias ec -keyalg EC -dname CN=localhost -validity 36500 -keystore ec.p12 -storepass $lock
keytool -genkeypair -alias ended -keyalg EC -dname CN=localhost -startdate 2020/01/01 -validity 1 -keystore ended.p12 \
  -storepass $lock
