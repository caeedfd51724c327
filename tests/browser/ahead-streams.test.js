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
        write: (piece) => (isStuck ? new Promise(() => {}) : void stream.bytes.push(...piece)),
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

test('what follows within half a second goes on the same stream, which has no send order, then on another', async () => {
  const { ahead, streams } = start();
  for (const number of [1, 2]) ahead.send([datagram(number)]);
  await settled();
  mock.timers.tick(499);
  ahead.send([datagram(3)]);
  await settled();
  assert.deepEqual(streams, [{ options: undefined, bytes: carried(1, 2, 3), code: null, isClosed: false }]);
  mock.timers.tick(1);
  await settled();
  assert.equal(streams[0].isClosed, true, 'also when nothing follows');
  ahead.send([datagram(4)]);
  await settled();
  assert.deepEqual([streams.length, streams[1].bytes], [2, carried(4)]);
  assert.equal(ahead.leftOut, 0);
});

test('what has not left 300 ms after a stream was used is given up as late', async () => {
  const { ahead, streams } = start({ isStuck: true });
  ahead.send([datagram(1)]);
  await settled();
  mock.timers.tick(500);
  await settled();
  mock.timers.tick(299);
  assert.equal(streams[0].code, null);
  mock.timers.tick(1);
  assert.equal(streams[0].code, DROP_REASONS.indexOf('late'));
});

test('while none can be opened, what would go on more of them is left out and counted', async () => {
  const { ahead, streams } = start({ opens: () => new Promise(() => {}) });
  for (let at = 0; at < 4; at++) {
    ahead.send([datagram(at), datagram(at)]);
    await settled();
    mock.timers.tick(500);
    await settled();
  }
  assert.deepEqual([streams.length, ahead.leftOut], [0, 2 * (4 - AHEAD_MAX)]);
});

test('a session that ends while one is opened is nobody\'s error', async () => {
  const { ahead } = start({ opens: () => Promise.reject(new Error('closed')) });
  ahead.send([datagram(1)]);
  await settled();
  mock.timers.tick(500);
  await settled();
  ahead.send([datagram(2)]);
  await settled();
  assert.equal(ahead.leftOut, 0);
});
