// Large frames over WebTransport: each on a stream of its own, taken back when nobody wants it any more.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { FRAMES_MAX, FrameStreams } from '../../web/sdk/frame-streams.js';
import { fragment } from '../../web/sdk/media/send/fragment.js';
import { STREAM_KIND, delimit } from '../../web/sdk/wire.js';
import { header } from './frames.js';

/** @typedef {{ order: number, bytes: number[], code: number | null, isClosed: boolean }} Stream */

class PretendError extends Error {
  /** @param {string} message @param {{ streamErrorCode: number }} options */
  constructor(message, { streamErrorCode }) {
    super(message);
    this.streamErrorCode = streamErrorCode;
  }
}

/** Firefox's takes one dictionary. */
class FirefoxError extends Error {
  /** @param {{ message: string, streamErrorCode: number }} init */
  constructor(init) {
    if (typeof init !== 'object') throw new TypeError('it cannot be converted to a dictionary');
    super(init.message);
    this.streamErrorCode = init.streamErrorCode;
  }
}

beforeEach(() => {
  Object.assign(globalThis, { WebTransportError: PretendError });
  mock.timers.enable({ apis: ['setTimeout'] });
});
afterEach(() => mock.timers.reset());

/** A session of which the streams are looked at. @param {{ isStuck?: boolean, incoming?: Uint8Array[][] }} [options] `isStuck`: nothing leaves */
function start({ isStuck = false, incoming = [] } = {}) {
  /** @type {Stream[]} */
  const streams = [];
  const { from } = /** @type {any} */ (ReadableStream);
  const transport = /** @type {any} */ ({
    incomingUnidirectionalStreams: from(incoming.map((pieces) => from(pieces))),
    async createUnidirectionalStream(/** @type {{ sendOrder: number }} */ { sendOrder }) {
      const stream = /** @type {Stream} */ ({ order: sendOrder, bytes: [], code: null, isClosed: false });
      streams.push(stream);
      return new WritableStream({
        start: ({ signal }) => signal.addEventListener('abort', () => { stream.code = signal.reason.streamErrorCode; }),
        write: (piece) => (isStuck ? new Promise(() => {}) : void stream.bytes.push(...piece)),
        close: () => { stream.isClosed = true; },
      });
    },
  });
  const received = /** @type {Uint8Array[]} */ ([]);
  const frames = new FrameStreams(transport, (media) => void received.push(media));
  return { frames, streams, received, settled: () => new Promise((resolve) => setImmediate(resolve)) };
}

/** @param {number} frame @param {Partial<import('../../web/sdk/wire/media.js').MediaHeader>} [rest] */
const datagrams = (frame, rest) => fragment({ ...header(frame, rest), onStream: true }, new Uint8Array(2500).fill(frame));

/** @param {Uint8Array[]} all */
const onStream = (all) => [STREAM_KIND.media, ...all.flatMap((datagram) => [...delimit(datagram)])];

test('each frame leaves on a stream of its own, after those before it', async () => {
  const { frames, streams, settled } = start();
  for (const frame of [1, 2]) frames.send(datagrams(frame));
  await settled();
  assert.deepEqual(streams, [1, 2].map((frame) => ({ order: -frame, bytes: onStream(datagrams(frame)), code: null, isClosed: true })));
  assert.deepEqual(frames.counts, { in: 0, out: 2 });
});

for (const [what, rest, timeMs] of /** @type {const} */ ([['frame', { dependsOnDistance: 1 }, 800], ['keyframe', {}, 2400]])) {
  test(`a ${what} that has not left after ${timeMs} ms is taken back`, async () => {
    const { frames, streams, settled } = start({ isStuck: true });
    frames.send(datagrams(1, rest));
    await settled();
    mock.timers.tick(timeMs - 100);
    assert.equal(streams[0].code, null);
    mock.timers.tick(200);
    assert.equal(streams[0].code, 13, 'late');
    assert.deepEqual(frames.counts, { in: 0, out: 0 });
  });
}

test('a frame that has not left is taken back in Firefox too', async () => {
  Object.assign(globalThis, { WebTransportError: FirefoxError });
  const { frames, streams, settled } = start({ isStuck: true });
  frames.send(datagrams(1, { dependsOnDistance: 1 }));
  await settled();
  mock.timers.tick(900);
  assert.equal(streams[0].code, 13, 'late');
});

test('a keyframe leaves those before it half of the time, but not those of another rendition', async () => {
  const { frames, streams, settled } = start({ isStuck: true });
  for (const [frame, spatialLayer] of [[1, 0], [1, 1], [2, 0]]) frames.send(datagrams(frame, { spatialLayer }));
  await settled();
  mock.timers.tick(1300);
  assert.deepEqual(streams.map(({ code }) => code), [15, null, null]);
});

test('so many are under way and no more', async () => {
  const { frames, streams, settled } = start({ isStuck: true });
  for (let frame = 0; frame < 2 * FRAMES_MAX; frame++) frames.send(datagrams(frame));
  await settled();
  assert.equal(streams.length, FRAMES_MAX);
});

test('what comes on streams is cut into datagrams, and what is no media is passed over', async () => {
  const [first, second] = [datagrams(1), datagrams(2)];
  const bytes = Uint8Array.from(onStream(first));
  const wrong = [Uint8Array.of(STREAM_KIND.chat, 1, 2, 3)];
  const tooLong = [Uint8Array.of(STREAM_KIND.media, 0, 0, 255, 255, 1), Uint8Array.from(onStream(first))];
  const { frames, received } = start({ incoming: [[bytes.subarray(0, 1), bytes.subarray(1, 700), bytes.subarray(700)], wrong, tooLong, [Uint8Array.from(onStream(second))]] });
  await frames.read();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(received.toSorted((a, b) => a[8] - b[8]), [...first, ...second].map((datagram) => datagram.subarray(1)));
  assert.deepEqual(frames.counts, { in: 2, out: 0 });
});
