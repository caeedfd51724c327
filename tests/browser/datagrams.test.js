// Datagrams to the relay: they do not wait for each other, and do not pile up in the page.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openWebTransport } from '../../web/sdk/webtransport.js';

/** As many as a page sends in 100 ms with audio, a camera, and both of it protected. */
const BURST = 30;

/** What the browser took, and what lets it take all the rest. */
const taken = /** @type {number[]} */ ([]);
let leave = () => {};
const left = /** @type {Promise<void>} */ (new Promise((resolve) => { leave = resolve; }));

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

test('datagrams leave without waiting for each other, and few wait for a browser that takes no more', async (t) => {
  const { WebTransport } = globalThis;
  t.after(() => Object.assign(globalThis, { WebTransport }));
  Object.assign(globalThis, { WebTransport: SlowTransport });
  const session = await openWebTransport('https://relay.example', { certificateSha256: null, signal: new AbortController().signal });
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

/** All that is to happen without anything else happening. */
const passed = () => new Promise((resolve) => setImmediate(resolve));
