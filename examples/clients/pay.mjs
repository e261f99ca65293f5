#!/usr/bin/env node
/*
Pays for an order once, whatever fails in between. Node 20 or later, no packages; it is TypeScript too, without types.

    pay.mjs ORDER AMOUNT CURRENCY SOURCE DESTINATION

    pay.mjs order-1234.json 1050 USD acct_alice acct_bob

ORDER is a file of ours that stands for your database: what is to be paid, and under which key. PAYONCE_URL says where the
daemon is, PAYONCE_API_KEY which API key to show, if any. Exits with 0 if it was paid, with 1 if it was not, or not yet.

The one thing to get right: make the key first, keep it with the order, and repeat with it. Run this again after any
failure, a power cut included: it is the same payment.
*/

import { randomUUID } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";

const URL_OF_DAEMON = process.env.PAYONCE_URL ?? "http://127.0.0.1:7411";
const TRIES = 10;

/** All of it, or nothing, and on the disk before we go on. */
function writeDown(path, order) {
  const file = openSync(`${path}.tmp`, "w");
  writeSync(file, JSON.stringify(order));
  fsyncSync(file);
  closeSync(file);
  renameSync(`${path}.tmp`, path);
}

/** The order with its key. The key is made once: before anything is sent, never again after. */
function remembered(path, body) {
  if (existsSync(path)) return JSON.parse(readFileSync(path, "utf8"));
  const order = { key: randomUUID(), body };
  writeDown(path, order);
  return order;
}

/** One request. */
async function ask(order) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": `"${order.key}"` };
  if (process.env.PAYONCE_API_KEY) headers.Authorization = `Bearer ${process.env.PAYONCE_API_KEY}`;
  const answer = await fetch(`${URL_OF_DAEMON}/v1/payments`, {
    method: "POST", headers, body: JSON.stringify(order.body), signal: AbortSignal.timeout(30_000),
  });
  return { status: answer.status, body: await answer.json(), retryAfter: Number(answer.headers.get("Retry-After") ?? 0) };
}

function leave(why) {
  console.error(why);
  process.exit(1);
}

/** Repeats until the payment is settled. What failed may have been done: only the same key may go again. */
async function pay(order) {
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    let pause = Math.min(0.2 * 2 ** attempt, 10);
    try {
      const { status, body, retryAfter } = await ask(order);
      if (status === 201) return body;
      if (status < 500 && ![202, 408, 429].includes(status)) leave(`refused: ${body.detail} (${body.code})`);
      pause = Math.max(pause, retryAfter);
    } catch (error) {
      // No answer says nothing about the payment. Never take it for a decline, and never make a new key.
      console.error(`no answer (${error.message}): asking again under the same key`);
    }
    await new Promise((resolve) => setTimeout(resolve, pause * 1000));
  }
  return leave("not settled yet: run this again, it is the same payment");
}

const [path, amount, currency, source, destination] = process.argv.slice(2);
if (!destination) leave("pay.mjs ORDER AMOUNT CURRENCY SOURCE DESTINATION");
const payment = await pay(remembered(path, { amount: Number(amount), currency, source, destination }));
console.log(`${payment.state} ${payment.id}`);
process.exitCode = ["succeeded", "authorized"].includes(payment.state) ? 0 : 1;
