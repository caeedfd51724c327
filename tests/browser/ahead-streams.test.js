// Copies of audio that go on streams ahead of pictures.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { AHEAD_MAX, AheadStreams } from '../../web/sdk/ahead-streams.js';
import { DROP_REASONS } from '../../web/sdk/wire/reasons.js';
import { STREAM_KIND, delimit } from '../../web/sdk/wire.js';

/** @typedef {{ options: unknown, bytes: number[], code: number | null, isClosed: boolean }} Stream */

beforeEach(() => {
  Object.assign(globalThis, {
    WebTransportError: class extends Error {
      /** @param {string} message @param {{ streamErrorCode: number }} options */
      constructor(message, { streamErrorCode }) {
        super(message);
        Object.assign(this, { streamErrorCode });
      }
    },
  });
  mock.timers.enable({ apis: ['setTimeout'] });
});
afterEach(() => mock.timers.reset());

/** @param {{ isStuck?: boolean, opens?: () => Promise<void> }} [options] `isStuck`: nothing leaves; `opens`: when one may be opened */
function start({ isStuck = false, opens = async () => {} } = {}) {
  /** @type {Stream[]} */
  const streams = [];
  const transport = /** @type {any} */ ({
    async createUnidirectionalStream(/** @type {unknown} */ options) {
      await opens();
      const stream = /** @type {Stream} */ ({ options, bytes: [], code: null, isClosed: false });
      streams.push(stream);
      return new WritableStream({
        start: ({ signal }) => signal.addEventListener('abort', () => { stream.code = signal.reason.streamErrorCode; }),
        write: (piece, { signal }) => (isStuck ? new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))) : void stream.bytes.push(...piece)),
        close: () => { stream.isClosed = true; },
      });
    },
  });
  return { ahead: new AheadStreams(transport), streams };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const datagram = (/** @type {number} */ number) => Uint8Array.of(0, number, number);
/** @param {number[]} numbers */
const carried = (...numbers) => [STREAM_KIND.media, ...numbers.flatMap((number) => [...delimit(datagram(number))])];

test('each goes on a stream of its own, which has no send order', async () => {
  const { ahead, streams } = start();
  for (const number of [1, 2]) ahead.send([datagram(number)]);
  await settled();
  assert.deepEqual(streams, [1, 2].map((number) => ({ options: undefined, bytes: carried(number), code: null, isClosed: true })));
  mock.timers.tick(1000);
  await settled();
  assert.deepEqual([streams.map(({ code }) => code), ahead.leftOut], [[null, null], 0]);
});

test('what has not left after 0.6 s is given up as late, and counted', async () => {
  const { ahead, streams } = start({ isStuck: true });
  ahead.send([datagram(1), datagram(2)]);
  await settled();
  mock.timers.tick(599);
  await settled();
  assert.deepEqual([streams[0].code, ahead.leftOut], [null, 0]);
  mock.timers.tick(1);
  await settled();
  assert.deepEqual([streams[0].code, ahead.leftOut], [DROP_REASONS.indexOf('late'), 2]);
});

test('what waited too long for a stream to be opened does not leave on it', async () => {
  let open = () => {};
  const opened = /** @type {Promise<void>} */ (new Promise((resolve) => { open = resolve; }));
  const { ahead, streams } = start({ opens: () => opened });
  ahead.send([datagram(1)]);
  mock.timers.tick(600);
  open();
  await settled();
  assert.deepEqual([streams[0].bytes, streams[0].code, ahead.leftOut], [[], DROP_REASONS.indexOf('late'), 1]);
});

test('while none can be opened, what would go on more of them is left out and counted', async () => {
  const { ahead, streams } = start({ opens: () => new Promise(() => {}) });
  for (let at = 0; at < AHEAD_MAX + 2; at++) ahead.send([datagram(at), datagram(at)]);
  await settled();
  assert.deepEqual([streams.length, ahead.leftOut], [0, 4]);
});

test('a session that ends while one is opened is nobody\'s error, and what was to go on it is counted', async () => {
  const { ahead } = start({ opens: () => Promise.reject(new Error('closed')) });
  for (let at = 0; at < AHEAD_MAX + 2; at++) {
    ahead.send([datagram(1)]);
    await settled();
  }
  assert.equal(ahead.leftOut, AHEAD_MAX + 2);
});
