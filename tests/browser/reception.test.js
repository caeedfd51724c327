// The rules of receiving: delay, order, synchronisation, layers, speakers, what fails and what is kept for later.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { colourOf, decoderHints, describeColour } from '../../web/sdk/media/colour.js';
import { Decoder, FAILURES_MAX, FAILURES_MS, REST_MS, STUCK_MS } from '../../web/sdk/media/receive/decoder.js';
import { EARLY_MAX, EARLY_MS_MAX, Early } from '../../web/sdk/media/receive/early.js';
import { Freezes } from '../../web/sdk/media/receive/freezes.js';
import { HELD_MAX, HeldFrames } from '../../web/sdk/media/receive/held-frames.js';
import { Histogram } from '../../web/sdk/media/receive/histogram.js';
import { JitterTarget, TARGET_MS_MAX, TARGET_MS_MIN } from '../../web/sdk/media/receive/jitter.js';
import { ticksOf } from '../../web/sdk/media/media-clock.js';
import { OPENING_MAX, Opening } from '../../web/sdk/media/receive/opening.js';
import { Order, PATIENCE_MS, WAITING_MAX } from '../../web/sdk/media/receive/order.js';
import { DRAWN_PIXELS_MAX, drawnSize } from '../../web/sdk/media/receive/render.js';
import { HOLD_MS, Speakers } from '../../web/sdk/media/receive/speakers.js';
import { HOLD_MS_MAX, SOUND_BEHIND_MS_MAX, Synchronisation } from '../../web/sdk/media/receive/synchronisation.js';
import { msBetween } from '../../web/sdk/media/timestamp.js';
import { REPORTED_SECONDS, Transit } from '../../web/sdk/media/receive/transit.js';
import { frame } from './frames.js';

/** Lets promises run. */
const settle = async () => { for (let turn = 0; turn < 50; turn++) await Promise.resolve(); };

// --- delay and jitter

/** A sender's clock that has nothing to do with ours. @param {number} ms */
const sentAt = (ms) => ticksOf(ms + 123_456_789);

test('the jitter is that of RFC 3550, and clocks that differ do not matter', () => {
  const transit = new Transit(REPORTED_SECONDS);
  for (let at = 0; at < 200; at++) transit.observe(at * 20 + (at % 2) * 8, sentAt(at * 20));
  assert.ok(Math.abs(transit.jitterMs - 8) < 0.1);
  assert.ok(Math.abs(transit.takeDelayMs()) < 0.1, 'every second one takes the least time');
  assert.equal(transit.takeDelayMs(), 0, 'nothing came since');
});

test('the delay is told against the least of the last ten seconds', () => {
  const transit = new Transit(REPORTED_SECONDS);
  transit.observe(0, sentAt(0));
  for (let second = 1; second <= 9; second++) assert.ok(Math.abs(transit.observe(second * 1000 + 50, sentAt(second * 1000)) - 50) < 0.1);
  assert.ok(Math.abs(transit.takeDelayMs()) < 0.1, 'the fastest is one of them');
  for (const atMs of [9800, 9900]) transit.observe(atMs + 50, sentAt(atMs));
  assert.equal(transit.takeDelayMs(), 0, 'two say nothing of the path');
  for (const atMs of [9910, 9920, 9930, 9935, 9940]) transit.observe(atMs + 50, sentAt(atMs));
  assert.ok(Math.abs(transit.takeDelayMs() - 50) < 0.1, 'all since the last report were slow');
  assert.ok(Math.abs(transit.observe(11_050, sentAt(11_000))) < 0.1, 'the fastest is forgotten');
});

test('one or two of a hundred that are late are waited for where frames are lost and mended, and not elsewhere', () => {
  const heard = (/** @type {boolean} */ isLossy) => {
    const target = new JitterTarget();
    // One of fifty is a frame late, for 20 s; the spike has worn off before the next.
    for (let at = 0; at < 1000; at++) {
      const isLate = at % 67 === 0;
      // Where it was lost, it comes behind the next one.
      if (isLate && isLossy) target.arrived(at * 20, at + 1);
      target.arrived(at * 20, at);
      target.observe(at * 20 + (isLate ? 20 : 0), at * 1800);
    }
    for (let at = 1000; at < 1050; at++) target.observe(at * 20, at * 1800);
    return target.targetMs;
  };
  assert.deepEqual([heard(false), heard(true)], [TARGET_MS_MIN, TARGET_MS_MIN + 20]);
});

test('a publisher that begins again has lost nothing', () => {
  const target = new JitterTarget();
  for (let at = 0; at < 1000; at++) {
    const isLate = at % 67 === 0;
    target.arrived(at * 20, at < 500 ? at + 100 : at - 500);
    target.observe(at * 20 + (isLate ? 20 : 0), at * 1800);
  }
  for (let at = 1000; at < 1050; at++) target.observe(at * 20, at * 1800);
  assert.equal(target.targetMs, TARGET_MS_MIN);
});

/** @param {(at: number) => number} lateMs @param {number} count @param {JitterTarget} [target] @param {number} [from] */
function hear(lateMs, count, target = new JitterTarget(), from = 0) {
  for (let at = from; at < from + count; at++) target.observe(at * 20 + lateMs(at), sentAt(at * 20));
  return target;
}

test('the target follows the jitter: low without, as much as nearly all need with, and never beyond its bounds', () => {
  assert.equal(hear(() => 0, 500).targetMs, TARGET_MS_MIN);
  const target = hear((at) => (at * 7) % 50, 500).targetMs;
  assert.ok(target >= 60 && target <= 80, `${target} ms`);
  assert.equal(hear((at) => (at % 3) * 400, 500).targetMs, TARGET_MS_MAX);
});

test('a path that has become longer is no jitter for long', () => {
  const target = hear(() => 0, 200);
  hear(() => 150, 100, target, 200);
  assert.ok(target.targetMs > 150);
  hear(() => 150, 900, target, 300);
  assert.equal(target.targetMs, TARGET_MS_MIN);
});

test('the target goes up at once and down slowly', () => {
  const target = hear(() => 0, 200);
  hear(() => 90, 1, target, 200);
  assert.ok(target.targetMs >= 110);
  hear(() => 0, 50, target, 201);
  assert.ok(target.targetMs > 80, `${target.targetMs} ms after a second`);
  hear(() => 0, 500, target, 251);
  assert.equal(target.targetMs, TARGET_MS_MIN);
});

// --- order of audio

/** @param {Order} order @param {number} nowMs */
function inOrder(order, nowMs) {
  const numbers = [];
  for (let next = order.pop(nowMs); next; next = order.pop(nowMs)) numbers.push(next.header.frame);
  return numbers;
}

test('audio is put in order, once, and a lost frame is waited for only so long', () => {
  const order = new Order();
  for (const number of [3, 5, 4, 5, 7]) order.push(frame(number, {}, 0));
  assert.deepEqual(inOrder(order, 0), [3, 4, 5]);
  assert.deepEqual(inOrder(order, PATIENCE_MS - 1), []);
  assert.deepEqual(inOrder(order, PATIENCE_MS), [7]);
  order.push(frame(6));
  assert.deepEqual([inOrder(order, 100), order.late], [[], 1]);
});

test('audio that counts from 0 again is followed', () => {
  const order = new Order();
  order.push(frame(900));
  assert.deepEqual(inOrder(order, 0), [900]);
  order.push(frame(0, { timestamp: 901 * 3000 }));
  assert.deepEqual(inOrder(order, 0), [0]);
});

// --- synchronisation

test('frames of audio that nobody takes are not kept without end', () => {
  const order = new Order();
  for (let number = 0; number < 1000; number++) order.push(frame(number));
  assert.ok(order.size <= WAITING_MAX + 1, `${order.size} wait`);
  assert.equal(order.pop(0)?.header.frame, 1000 - order.size - 1, 'the latest are kept');
});

test('a picture waits for its sound only if that is much later, and never long', () => {
  const cases = [[0, 20, 0], [50, 20, 0], [150, 20, 150 - 20 - SOUND_BEHIND_MS_MAX], [1000, 20, HOLD_MS_MAX], [20, 200, 0]];
  for (const [soundMs, pictureMs, holdMs] of cases) {
    const synchronisation = new Synchronisation();
    synchronisation.heard(5000, ticksOf(5000 - soundMs), 0);
    assert.equal(Math.round(synchronisation.holdMs(5000, ticksOf(5000 - pictureMs))), holdMs, `sound ${soundMs} ms, picture ${pictureMs} ms`);
  }
});

test('the way from the playout to the ear counts, and sound that is not heard any longer holds nothing', () => {
  const synchronisation = new Synchronisation();
  synchronisation.heard(5000, ticksOf(4950), 90);
  assert.equal(Math.round(synchronisation.holdMs(5000, ticksOf(5000))), 30);
  assert.equal(synchronisation.holdMs(5501, ticksOf(5501)), 0);
});

class Picture {
  isClosed = false;
  close() { this.isClosed = true; }
}

test('held pictures are drawn in time, the latest wins, and every one is closed or drawn', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const drawn = /** @type {number[]} */ ([]);
  const held = new HeldFrames((/** @type {Picture} */ picture, timestamp) => {
    drawn.push(timestamp);
    picture.close();
  });
  const pictures = Array.from({ length: 8 }, () => new Picture());
  held.add(pictures[0], 0, 0);
  assert.deepEqual(drawn, [0]);
  held.add(pictures[1], 1, 50);
  held.add(pictures[2], 2, 40);
  t.mock.timers.tick(40);
  assert.deepEqual([drawn, pictures[1].isClosed], [[0, 2], true]);
  for (let at = 3; at < 8; at++) held.add(pictures[at], at, 100);
  assert.deepEqual([drawn, held.size], [[0, 2, 3], HELD_MAX]);
  held.close();
  assert.deepEqual([held.size, pictures.every(({ isClosed }) => isClosed)], [0, true]);
  t.mock.timers.tick(1000);
  assert.deepEqual(drawn, [0, 2, 3]);
});

// --- decoders

class FakeDecoder {
  state = 'configured';
  /** @type {{ timestamp: number }[]} */
  chunks = [];
  /** @param {{ output(decoded: any): void, error(error: unknown): void }} callbacks */
  constructor(callbacks) { this.callbacks = callbacks; }
  configure() {}
  /** @param {{ timestamp: number }} chunk */
  decode(chunk) {
    if (this.state === 'closed') throw new Error('closed');
    this.chunks.push(chunk);
  }
  close() { this.state = 'closed'; }
}

/** @param {{ isSupported?: boolean }} [options] */
async function decoding({ isSupported = true } = {}) {
  const made = /** @type {FakeDecoder[]} */ ([]);
  const told = { outputs: /** @type {string[]} */ ([]), renewed: 0, failed: /** @type {string[]} */ ([]) };
  const clock = { nowMs: 0 };
  const decoder = new Decoder({
    create: (callbacks) => made[made.push(new FakeDecoder(callbacks)) - 1], isSupported: async () => isSupported, config: {},
    output: (_, /** @type {string} */ input) => void told.outputs.push(input), renewed: () => void told.renewed++, failed: (code) => void told.failed.push(code),
    now: () => clock.nowMs,
  });
  await settle();
  return { decoder, made, told, clock };
}

const decoded = (/** @type {number} */ timestamp) => ({ timestamp, close() {} });

test('outputs belong to inputs, also when a decoder invents timestamps or leaves one out', async () => {
  const { decoder, made, told } = await decoding();
  for (const [at, input] of ['a', 'b', 'c', 'd'].entries()) decoder.decode({ timestamp: at * 1000 }, input);
  made[0].callbacks.output(decoded(777));
  made[0].callbacks.output(decoded(2000));
  made[0].callbacks.output(decoded(3000));
  assert.deepEqual([told.outputs, decoder.pending], [['a', 'c', 'd'], 0]);
});

test('a decoder that fails is replaced, and given up after three failures in ten seconds', async () => {
  const { decoder, made, told, clock } = await decoding();
  made[0].callbacks.error(new Error('failed'));
  clock.nowMs = FAILURES_MS;
  made[1].state = 'closed';
  decoder.decode({ timestamp: 0 }, 'a');
  assert.deepEqual([made.length, told.renewed, told.failed, decoder.isReady], [3, 2, [], true]);
  made[2].callbacks.error(new Error('failed'));
  assert.deepEqual([told.failed, decoder.isReady], [[], true]);
  made[3].callbacks.error(new Error('failed'));
  assert.deepEqual([told.failed, decoder.isReady, made.length], [['codec_failed'], false, 4]);
  assert.ok(made.every(({ state }) => state === 'closed'));
});

test('a decoder that was given up begins again after a rest, which is longer each time', async () => {
  const { decoder, made, told, clock } = await decoding();
  const failAll = () => { for (let times = 0; times < FAILURES_MAX; times++) made[made.length - 1].callbacks.error(new Error('failed')); };
  failAll();
  clock.nowMs += REST_MS.least - 1;
  assert.deepEqual([decoder.revive(), decoder.isReady], [false, false]);
  clock.nowMs++;
  const { renewed } = told;
  assert.deepEqual([decoder.revive(), decoder.isReady, told.renewed - renewed], [true, true, 1]);
  assert.equal(decoder.revive(), false, 'it is there already');
  failAll();
  assert.deepEqual([told.failed, decoder.isReady], [['codec_failed', 'codec_failed'], false]);
  clock.nowMs += 2 * REST_MS.least - 1;
  assert.equal(decoder.revive(), false);
  clock.nowMs++;
  assert.equal(decoder.revive(), true);
  decoder.close();
  assert.equal(decoder.revive(), false);
});

/** How long it takes until a decoder is replaced that gets something every 20 ms and gives nothing back. @param {Awaited<ReturnType<typeof decoding>>} made */
function replacedAfterMs({ decoder, made, clock }) {
  const [began, before] = [clock.nowMs, made.length];
  for (; made.length === before && clock.nowMs < began + 20_000; clock.nowMs += 20) decoder.decode({ timestamp: clock.nowMs }, 'input');
  return clock.nowMs - began;
}

test('a decoder that gives nothing back is replaced, however much it got, and has longer to begin', async () => {
  const of = await decoding();
  assert.equal(replacedAfterMs(of), STUCK_MS.beginning + 60);
  assert.equal(of.decoder.pending, 0);
  of.decoder.decode({ timestamp: 1 }, 'a');
  of.made[1].callbacks.output(decoded(1));
  assert.equal(replacedAfterMs(of), STUCK_MS.later + 60);
  assert.deepEqual([of.told.renewed, of.told.failed], [2, []]);
});

test('after three decoders in a row that give nothing, it is given up for a while', async () => {
  const of = await decoding();
  assert.deepEqual([1, 2, 3].map(() => [replacedAfterMs(of) < 11_000, of.told.failed.length]), [[true, 0], [true, 0], [false, 1]]);
  assert.deepEqual([of.made.length, of.told.failed, of.decoder.isReady], [3, ['codec_failed'], false]);
});

test('one that is stuck is replaced while nothing comes for it', async () => {
  const { decoder, made, clock } = await decoding();
  for (const at of [0, 1]) decoder.decode({ timestamp: at }, 'input');
  clock.nowMs = STUCK_MS.beginning;
  decoder.look();
  assert.equal(made.length, 1);
  clock.nowMs++;
  decoder.look();
  assert.deepEqual([made.length, decoder.pending], [2, 0]);
});

test('a decoder that holds one input back until the next one comes is not stuck, however late that is', async () => {
  const { decoder, made, told, clock } = await decoding();
  for (let at = 0; at < 5; at++) {
    decoder.decode({ timestamp: at }, String(at));
    if (at > 0) made[0].callbacks.output(decoded(at - 1));
    clock.nowMs += 2 * STUCK_MS.beginning;
  }
  assert.deepEqual([told.outputs, told.renewed], [['0', '1', '2', '3'], 0]);
});

test('outputs and errors of a decoder that was replaced are nothing any longer', async () => {
  const { made, told } = await decoding();
  made[0].callbacks.error(new Error('failed'));
  let isClosed = false;
  made[0].callbacks.output({ timestamp: 0, close: () => { isClosed = true; } });
  made[0].callbacks.error(new Error('again'));
  assert.deepEqual([told.outputs, told.renewed, isClosed], [[], 1, true]);
});

test('a codec that the browser does not know is told once', async () => {
  const { decoder, made, told } = await decoding({ isSupported: false });
  decoder.decode({ timestamp: 0 }, 'a');
  assert.deepEqual([told.failed, made.length], [['codec_unsupported'], 0]);
});

test('a closed decoder stays closed', async () => {
  const { decoder, made } = await decoding();
  decoder.close();
  made[0].callbacks.error(new Error('late'));
  assert.deepEqual([made.length, made[0].state, decoder.isReady], [1, 'closed', false]);
});

// --- encrypted frames

test('frames that cannot be opened are told, empty ones passed over, and the others keep their order', async () => {
  /** @type {Record<number, { resolve(): void, reject(): void }>} */
  const opening = {};
  const cipher = {
    /** @param {{ frame: number }} header @param {Uint8Array<ArrayBuffer>} payload @returns {Promise<Uint8Array<ArrayBuffer>>} */
    decrypt: ({ frame }, payload) => new Promise((resolve, reject) => {
      opening[frame] = { resolve: () => resolve(frame === 3 ? new Uint8Array() : payload), reject: () => reject(new Error('key')) };
    }),
  };
  const told = /** @type {(number | string)[]} */ ([]);
  const opener = new Opening(cipher, ({ header }) => void told.push(header.frame), () => void told.push('sealed'));
  for (const number of [1, 2, 3, 4]) opener.push(frame(number));
  opening[4].resolve();
  opening[3].resolve();
  opening[2].reject();
  await settle();
  assert.deepEqual(told, []);
  opening[1].resolve();
  await settle();
  assert.deepEqual(told, [1, 'sealed', 4]);
  for (let number = 5; number < 200; number++) opener.push(frame(number));
  assert.equal(Object.keys(opening).length, 4 + OPENING_MAX);
  opener.close();
  for (const { resolve } of Object.values(opening)) resolve();
  await settle();
  assert.equal(told.length, 3);
});

// --- speakers

test('who speaks is told while they do and a while longer, the loudest first, and noise is not speech', () => {
  const speakers = new Speakers();
  let nowMs = 0;
  for (; nowMs <= 1000; nowMs += 100) {
    speakers.heard(nowMs, 1, 60);
    speakers.heard(nowMs, 2, 30);
    speakers.heard(nowMs, 3, 20);
  }
  assert.deepEqual(speakers.active(1000), [3, 2]);
  for (; nowMs <= 2000; nowMs += 100) for (const id of [1, 2, 3]) speakers.heard(nowMs, id, id === 2 ? 30 : 127);
  assert.deepEqual(speakers.active(1200), [2, 3].toSorted());
  assert.deepEqual(speakers.active(2000 + HOLD_MS), []);
  speakers.left(2);
  assert.deepEqual(speakers.active(2000), []);
});

test('one click is not speech', () => {
  const speakers = new Speakers();
  for (let nowMs = 0; nowMs <= 1000; nowMs += 100) speakers.heard(nowMs, 1, nowMs === 500 ? 35 : 90);
  assert.deepEqual(speakers.active(600), []);
});

// --- small things

test('cameras and screens are BT.601 where the stream does not say it, and tabs are what is announced of them', () => {
  const info = /** @type {any} */ ({ codec: 'vp8', source: 'camera', description: new Uint8Array() });
  assert.equal(colourOf(info)?.matrix, 'smpte170m');
  for (const same of [{ codec: 'vp09.00.10.08' }, { source: 'screen' }, { description: Uint8Array.of(1, 1) }]) assert.equal(colourOf({ ...info, ...same })?.matrix, 'smpte170m');
  for (const other of [{ source: 'other' }, { codec: 'av01.0.04M.08' }, { codec: 'avc1.42001f' }]) assert.equal(colourOf({ ...info, ...other }), undefined);
  const tab = { ...info, source: 'screen', description: describeColour('vp8', { displaySurface: 'browser' }) };
  assert.deepEqual(decoderHints(tab), { colorSpace: { primaries: 'bt709', transfer: 'bt709', matrix: 'bt709', fullRange: false } });
  for (const displaySurface of ['monitor', 'window', undefined]) assert.equal(describeColour('vp8', { displaySurface }).length, 0);
  assert.equal(describeColour('av01.0.04M.08', { displaySurface: 'browser' }).length, 0);
  assert.deepEqual(decoderHints({ ...info, codec: 'avc1.42001f', description: Uint8Array.of(1, 2) }), { description: Uint8Array.of(1, 2) });
});

test('timestamps are compared across their end', () => {
  assert.equal(msBetween(90, 0xffffffa6), 2);
  assert.equal(msBetween(0xffffffa6, 90), -2);
});

test('datagrams that come too early wait, not too many and not too long', () => {
  const early = new Early();
  const datagram = new Uint8Array(1);
  early.keep(0, 1, datagram);
  early.keep(100, 2, datagram);
  assert.equal(early.take(EARLY_MS_MAX + 1, 1).length, 0);
  assert.equal(early.take(EARLY_MS_MAX + 1, 2).length, 1);
  assert.equal(early.take(EARLY_MS_MAX + 1, 2).length, 0);
  for (let at = 0; at < 10_000; at++) early.keep(3000, at, datagram);
  assert.equal(early.size, EARLY_MAX);
});

test('pictures are drawn as large as the tile needs them, and no larger than they are', () => {
  const picture = { width: 640, height: 360 };
  const cases = [
    [{ width: 320, height: 180 }, { width: 320, height: 180 }],
    [{ width: 180, height: 180 }, { width: 320, height: 180 }],
    [{ width: 1920, height: 1080 }, picture],
    [{ width: 0, height: 0 }, picture],
  ];
  for (const [tile, drawn] of cases) assert.deepEqual(drawnSize(picture, tile), drawn);
});

test('no picture makes a canvas without end', () => {
  for (const tile of [{ width: 0, height: 0 }, { width: 20_000, height: 20_000 }]) {
    const { width, height } = drawnSize({ width: 16_384, height: 16_384 }, tile);
    assert.ok(Math.abs(width * height - DRAWN_PIXELS_MAX) < 10_000, `${width}x${height}`);
  }
});

test('most of the durations stay below a percentile', () => {
  const histogram = new Histogram();
  assert.equal(histogram.percentile(0.5), null);
  for (let ms = 1; ms <= 100; ms++) histogram.add(ms);
  histogram.add(1e9);
  histogram.add(-5);
  assert.deepEqual([histogram.percentile(0.5), histogram.percentile(0.95), histogram.percentile(1)], [50, 96, 1000]);
});

test('a picture that stands unusually long is a freeze, and a pause that was meant is none', () => {
  const freezes = new Freezes();
  let nowMs = 0;
  for (let at = 0; at < 60; at++) freezes.drawn((nowMs += 33));
  freezes.drawn((nowMs += 150));
  assert.equal(freezes.count, 0);
  freezes.drawn((nowMs += 400));
  assert.equal(freezes.count, 1);
  freezes.paused();
  freezes.drawn((nowMs += 5000));
  assert.equal(freezes.count, 1);
});
