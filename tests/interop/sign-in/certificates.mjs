// A private certificate authority and one server's certificate, made at run time (X.509 v3, P-256, ECDSA with SHA-256).

import { createSign, generateKeyPairSync, randomBytes } from "node:crypto";

const DAY = 86_400_000;

const [BOOLEAN, INTEGER, BITS, OCTETS, UTF8, TIME, SEQUENCE, SET] = [0x01, 0x02, 0x03, 0x04, 0x0c, 0x18, 0x30, 0x31];
/** A DNS name among the alternative names. */
const NAME = 0x82;
const ECDSA_SHA256 = der(SEQUENCE, oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));
const COMMON_NAME = oid(0x55, 0x04, 0x03);
const BASIC_CONSTRAINTS = oid(0x55, 0x1d, 0x13);
const ALTERNATIVE_NAME = oid(0x55, 0x1d, 0x11);
const TRUE = der(BOOLEAN, Buffer.from([0xff]));

/** An authority and a certificate for `name`, all PEM: `{ ca, cert, key, name }`. */
export function privateAuthority(name) {
  const authority = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const server = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const isAuthority = der(SEQUENCE, BASIC_CONSTRAINTS, TRUE, der(OCTETS, der(SEQUENCE, TRUE)));
  const isServer = der(SEQUENCE, ALTERNATIVE_NAME, der(OCTETS, der(SEQUENCE, der(NAME, Buffer.from(name)))));
  const [issuer, subject] = ["private authority", name].map(distinguishedName);
  const issue = (who, key, extension) => certificate(issuer, who, key, extension, authority.privateKey);
  return {
    name,
    ca: issue(issuer, authority.publicKey, isAuthority),
    cert: issue(subject, server.publicKey, isServer),
    key: server.privateKey.export({ type: "pkcs8", format: "pem" }),
  };
}

function certificate(issuer, subject, publicKey, extension, signer) {
  const version = der(0xa0, der(INTEGER, Buffer.from([2])));
  const serial = der(INTEGER, Buffer.concat([Buffer.from([1]), randomBytes(15)]));
  const validity = der(SEQUENCE, time(Date.now() - DAY), time(Date.now() + DAY));
  const key = publicKey.export({ type: "spki", format: "der" });
  const extensions = der(0xa3, der(SEQUENCE, extension));
  const content = der(SEQUENCE, version, serial, ECDSA_SHA256, issuer, validity, subject, key, extensions);
  const signature = createSign("sha256").update(content).sign(signer);
  const whole = der(SEQUENCE, content, ECDSA_SHA256, der(BITS, Buffer.from([0]), signature));
  const lines = whole.toString("base64").match(/.{1,64}/g);
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function distinguishedName(text) {
  return der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8, Buffer.from(text)))));
}

function time(milliseconds) {
  const [digits] = new Date(milliseconds).toISOString().replace(/[-:T]/g, "").split(".");
  return der(TIME, Buffer.from(`${digits}Z`));
}

function oid(...bytes) {
  return der(0x06, Buffer.from(bytes));
}

function der(tag, ...parts) {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
