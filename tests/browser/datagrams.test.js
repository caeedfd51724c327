// Datagrams to the relay: they do not wait for each other, and do not pile up in the page.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openWebTransport } from '../../web/sdk/webtransport.js';

/** As many as a page sends in 100 ms with audio, a camera, and both of it protected. */
const BURST = 30;

/** What the browser took, and what lets it take all the rest. */
const taken = /** @type {number[]} */ ([]);
let leave = () => {};
let left = Promise.resolve();

/** A browser that takes as many datagrams as it was asked to and keeps the others waiting until those have left, as Chromium does. */
class SlowTransport {
  ready = Promise.resolve();
  closed = new Promise(() => {});
  incomingUnidirectionalStreams = new ReadableStream();
  datagrams = /** @type {any} */ ({
    outgoingHighWaterMark: 1,
    readable: new ReadableStream(),
    writable: new WritableStream({
      write: (/** @type {Uint8Array} */ [number]) => {
        taken.push(number);
        return taken.length < this.datagrams.outgoingHighWaterMark ? undefined : left;
      },
    }),
  });

  async createBidirectionalStream() {
    return { readable: new ReadableStream(), writable: new WritableStream() };
  }

  close() {}
}

/** At a time that stands still unless it is set. @param {import('node:test').TestContext} t */
function slowSession(t, nowMs = () => 0) {
  t.mock.method(performance, 'now', nowMs);
  const { WebTransport } = globalThis;
  t.after(() => Object.assign(globalThis, { WebTransport }));
  Object.assign(globalThis, { WebTransport: SlowTransport });
  taken.splice(0);
  left = new Promise((resolve) => { leave = resolve; });
  return openWebTransport('https://relay.example', { certificateSha256: null, signal: new AbortController().signal });
}

test('datagrams leave without waiting for each other, and few wait for a browser that takes no more', async (t) => {
  const session = await slowSession(t);
  for (let number = 0; number < BURST; number++) session.sendDatagram(Uint8Array.of(0, number));
  await passed();
  assert.deepEqual(taken, Array.from({ length: BURST }, (_, number) => number));

  for (let number = BURST; number < 21 * BURST; number++) session.sendDatagram(Uint8Array.of(0, number & 0xff));
  await passed();
  leave();
  await passed();
  assert.ok(taken.length > BURST && taken.length < 5 * BURST, `${taken.length} taken`);
  assert.equal(session.datagramsLeftOut(), 21 * BURST - taken.length, 'the others are counted');
  assert.equal(taken.at(-1), (21 * BURST - 1) & 0xff, 'the newest is not among them');
});

test('what waited in the page for a tenth of a second stays behind', async (t) => {
  let nowMs = 1000;
  const session = await slowSession(t, () => nowMs);
  const most = 64;
  for (let number = 0; number < most; number++) session.sendDatagram(Uint8Array.of(0, number));
  await passed();
  for (const [atMs, number] of [[1000, 100], [1050, 101], [1100, 102]]) {
    nowMs = atMs;
    session.sendDatagram(Uint8Array.of(0, number));
  }
  assert.equal(session.datagramsLeftOut(), 0);
  nowMs = 1101;
  session.sendDatagram(Uint8Array.of(0, 103));
  assert.equal(session.datagramsLeftOut(), 1, 'one is late, whether or not the browser takes any');
  nowMs = 1160;
  leave();
  await passed();
  assert.deepEqual(taken.slice(most), [102, 103], 'the second became late');
  assert.deepEqual([session.datagramsLeftOut(), session.leftOutOnStreams()], [2, 0]);
});

/** All that is to happen without anything else happening. */
const passed = () => new Promise((resolve) => setImmediate(resolve));
