// What goes twice or with parity while there is loss, how loud audio is, and the clock of capture.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SILENCE_DB, audioLevel, meterLevel } from '../../web/sdk/media/audio-level.js';
import { MediaClock, ticksOf } from '../../web/sdk/media/media-clock.js';
import { deliveries } from '../../web/sdk/media/send/delivery.js';
import { FrameSender } from '../../web/sdk/media/send/frame-sender.js';
import { Pacer } from '../../web/sdk/media/send/pacer.js';
import { Redundancy } from '../../web/sdk/media/send/redundancy.js';
import { StreamSpell } from '../../web/sdk/media/send/stream-spell.js';

const frame = (/** @type {number} */ number) => [Uint8Array.of(number)];
const numbers = (/** @type {Uint8Array[]} */ datagrams) => datagrams.map(([number]) => number);

test('there is loss until ten seconds after the last', () => {
  const redundancy = new Redundancy();
  redundancy.feedback({ received: 50, lost: 0 }, 0);
  assert.equal(redundancy.isDue(0), false);
  redundancy.feedback({ received: 48, lost: 2 }, 10);
  redundancy.feedback({ received: 50, lost: 0 }, 5000);
  assert.deepEqual([20, 10_009, 10_010].map((nowMs) => redundancy.isDue(nowMs)), [true, true, false]);
});

test('audio goes once; with loss the previous frame goes along; where datagrams may be dropped, it goes on a stream ahead of pictures', () => {
  const redundancy = new Redundancy();
  const sent = /** @type {[number[], boolean | undefined][]} */ ([]);
  const pacer = new Pacer({ send: ({ datagrams, tag }) => void sent.push([datagrams.map((datagram) => /** @type {number} */ (datagram.at(-1))), tag.goesAhead]), later() {} });
  const sender = new FrameSender({ key: 1, kind: 'audio', delivery: deliveries('datagrams', false), pacer, cipher: () => null, redundancy, left: () => assert.fail() });
  sender.track = 7;
  const say = (/** @type {number} */ number) => {
    const header = { frame: number, dependsOnDistance: 0, keyframe: true, temporalLayer: 0, spatialLayer: 0, audioLevel: 30, timestamp: number };
    sender.send({ header, payload: Uint8Array.of(9, number) });
    return sent.splice(0);
  };
  assert.deepEqual(say(1), [[[1], undefined]]);
  redundancy.feedback({ received: 98, lost: 2 }, performance.now());
  assert.deepEqual(say(2), [[[2, 1], undefined]]);
  const bitsBefore = sender.bits;
  sender.prefersStreams = true;
  assert.deepEqual(say(3), [[[3], undefined], [[2], true]]);
  assert.equal(sender.bits - bitsBefore, 2 * 8 * 23, 'both count');
  assert.equal(sender.frames, 3);
});

test('with loss pictures go with parity: those of the base layer, and all where there is room', () => {
  const nowMs = performance.now();
  const sent = (/** @type {boolean} */ hasLoss, /** @type {boolean} */ hasRoom) => [0, 1, 2].map((temporalLayer) => {
    const redundancy = new Redundancy();
    if (hasLoss) redundancy.feedback({ received: 98, lost: 2 }, nowMs);
    let count = 0;
    const pacer = new Pacer({ send: ({ datagrams }) => { count += datagrams.length; }, later() {} });
    pacer.isWhole = true;
    const sender = new FrameSender({ key: 1, kind: 'video', delivery: deliveries('datagrams', false), pacer, cipher: () => null, redundancy, left: () => assert.fail() });
    Object.assign(sender, { track: 7, hasRoom });
    const header = { frame: 1, dependsOnDistance: 1, keyframe: false, temporalLayer, spatialLayer: 0, audioLevel: 127, timestamp: 1 };
    sender.send({ header, payload: new Uint8Array(2500) });
    return count;
  });
  assert.deepEqual([sent(false, true), sent(true, false), sent(true, true)], [[3, 3, 3], [4, 3, 3], [4, 4, 4]]);
});

test('where datagrams are dropped before they leave, pictures go on streams, without parity', () => {
  const redundancy = new Redundancy();
  redundancy.feedback({ received: 98, lost: 2 }, performance.now());
  const sent = /** @type {[number, boolean][]} */ ([]);
  const pacer = new Pacer({ send: ({ datagrams, tag }) => void sent.push([datagrams.length, tag.header.onStream]), later() {} });
  const sender = new FrameSender({ key: 1, kind: 'video', delivery: deliveries('datagrams', false), pacer, cipher: () => null, redundancy, left: () => assert.fail() });
  Object.assign(sender, { track: 7, hasRoom: true });
  const header = { frame: 1, dependsOnDistance: 1, keyframe: false, temporalLayer: 0, spatialLayer: 0, audioLevel: 127, timestamp: 1 };
  for (const prefersStreams of [false, true]) {
    sender.prefersStreams = prefersStreams;
    sender.send({ header, payload: new Uint8Array(2500) });
  }
  assert.deepEqual(sent, [[4, false], [3, true]]);
});

test('a program chooses how all frames of a track travel, or keyframes apart from the others', () => {
  const sent = (/** @type {Parameters<typeof deliveries>[0]} */ wished, isScreen = false) => [true, false].map((keyframe) => {
    const left = /** @type {[number, boolean][]} */ ([]);
    const pacer = new Pacer({ send: ({ datagrams, tag }) => void left.push([datagrams.length, tag.header.onStream]), later() {} });
    const sender = new FrameSender({ key: 1, kind: 'video', delivery: deliveries(wished, isScreen), pacer, cipher: () => null, redundancy: new Redundancy(), left: () => assert.fail() });
    sender.track = 7;
    const header = { frame: 1, dependsOnDistance: keyframe ? 0 : 1, keyframe, temporalLayer: keyframe ? 0 : 2, spatialLayer: 0, audioLevel: 127, timestamp: 1 };
    sender.send({ header, payload: new Uint8Array(2500) });
    return left[0];
  });
  const [plain, protectedOnes, onStream] = [[3, false], [4, false], [3, true]];
  assert.deepEqual(sent(undefined), [plain, plain]);
  assert.deepEqual(sent(undefined, true), [onStream, plain]);
  assert.deepEqual(sent('datagrams', true), [plain, plain]);
  assert.deepEqual(sent('parity'), [protectedOnes, protectedOnes]);
  assert.deepEqual(sent('stream'), [onStream, onStream]);
  assert.deepEqual(sent({ keyframes: 'stream', others: 'parity' }), [onStream, protectedOnes]);
  assert.throws(() => deliveries(/** @type {any} */ ('pigeon'), false), { code: 'delivery_unknown' });
});

test('the copy outlives the buffer that was sent', () => {
  const redundancy = new Redundancy();
  const [sent] = frame(1);
  redundancy.next([sent]);
  structuredClone(sent, { transfer: [sent.buffer] });
  assert.deepEqual(numbers(redundancy.next(frame(2))), [1]);
});

test('of another track there is no frame before', () => {
  const redundancy = new Redundancy();
  redundancy.next(frame(1));
  redundancy.forget();
  assert.deepEqual(redundancy.next(frame(2)), []);
});

test('streams are preferred for ten seconds, and twice as long each time that the loss is back soon after', () => {
  const spell = new StreamSpell();
  assert.equal(spell.lasts(0), false);
  const lastsFor = (/** @type {number} */ missedMs) => {
    spell.missed(missedMs);
    let ms = missedMs;
    while (spell.lasts(ms)) ms += 1000;
    return (ms - missedMs) / 1000;
  };
  assert.equal(lastsFor(5000), 10);
  assert.equal(lastsFor(14_000), 10, 'while it lasts');
  assert.deepEqual([lastsFor(25_000), lastsFor(50_000)], [20, 40]);
  assert.deepEqual([lastsFor(99_000), lastsFor(180_000)], [80, 80], 'no longer than that');
  assert.equal(lastsFor(271_000), 10);
});

test('a level is dB below full scale', () => {
  const sine = (/** @type {number} */ peak) => Float32Array.from({ length: 960 }, (_, at) => peak * Math.sin((at * 2 * Math.PI) / 48));
  assert.equal(audioLevel(new Float32Array(960).fill(1)), 0);
  assert.equal(audioLevel(new Float32Array(960).fill(4)), 0);
  assert.equal(audioLevel(sine(1)), 3);
  assert.equal(audioLevel(sine(0.01)), 43);
  assert.equal(audioLevel(new Float32Array(960)), SILENCE_DB);
  assert.equal(audioLevel(new Float32Array(960).fill(1e-9)), SILENCE_DB);
  assert.deepEqual([0, 30, 60, SILENCE_DB].map(meterLevel), [1, 0.5, 0, 0]);
});

test('timestamps are 90 kHz, the low 32 bits', () => {
  assert.equal(ticksOf(1000), 90_000);
  assert.equal(ticksOf(2 ** 32 / 90 + 1), 90);
  assert.ok(ticksOf(1_795_642_173_877.2) < 2 ** 32);
});

/** Frames each 20 ms whose way takes `delays`. @param {number[]} delays milliseconds @param {number} [startMs] of the device's clock against the page's */
function captured(delays, startMs = 1_000_000) {
  const clock = new MediaClock();
  return delays.map((delay, frame) => clock.at(frame * 20, startMs + frame * 20 + delay) - startMs);
}

test('the least delay says how the clocks stand', () => {
  assert.deepEqual(captured([5, 5, 5]), [5, 25, 45]);
  const times = captured([2, 9, 14, 7, 2]);
  assert.ok(times.every((time, frame) => Math.abs(time - frame * 20 - 2) < 0.1), `${times}`);
});

test('an estimate that was late is corrected, and time never goes back', () => {
  const times = captured([100, 80, 60, 40, 20, 5, 5, 5, 5, 5, 5, 5]);
  assert.ok(times.every((time, frame) => frame === 0 || time > times[frame - 1]), `${times}`);
  assert.ok(Math.abs(times[11] - (11 * 20 + 5)) < 0.1, `${times}`);
});

test('what waited while everything began does not make later what follows', () => {
  // A worker began a quarter of a second late, and gets at once what waited for it.
  const times = captured([...Array.from({ length: 12 }, (_, frame) => 250 - frame * 20), ...Array(8).fill(5)]);
  assert.ok(times.every((time, frame) => frame === 0 || time > times[frame - 1]), `${times}`);
  for (let frame = 13; frame < 20; frame++) assert.ok(Math.abs(times[frame] - (frame * 20 + 5)) < 15, `${times}`);
});

test('a clock that runs slower is followed, and one that jumped is taken anew', () => {
  const clock = new MediaClock();
  let last = 0;
  for (let frame = 0; frame < 50 * 600; frame++) last = clock.at(frame * 20, frame * 20 * 1.0001) - frame * 20 * 1.0001;
  assert.ok(Math.abs(last) < 1, `${last} ms off after ten minutes`);
  assert.equal(clock.at(5, 900_005), 900_005);
});

test('a device whose clock stood still is behind from then on, and is followed', () => {
  const clock = new MediaClock();
  let last = 0;
  const pass = (/** @type {number} */ from, /** @type {number} */ to, /** @type {number} */ behindMs) => {
    for (let ms = from; ms < to; ms += 20) last = clock.at(ms, ms + behindMs + (ms % 100 === 0 ? 0 : 12)) - ms;
  };
  pass(0, 3000, 5);
  assert.ok(Math.abs(last - 5) < 1, `${last}`);
  pass(3000, 5100, 165);
  assert.ok(Math.abs(last - 165) < 1, `${last}: two seconds later`);
  pass(5100, 9000, 165);
  assert.ok(Math.abs(last - 165) < 1, `${last}`);
});

test('a burst of delay that is shorter than a second says nothing about the clock', () => {
  const clock = new MediaClock();
  const off = [];
  for (let ms = 0; ms < 5000; ms += 20) off.push(clock.at(ms, ms + (ms % 1000 < 600 ? 80 : 5)) - ms);
  assert.ok(off.slice(100).every((offMs) => Math.abs(offMs - 5) < 1), `${off.slice(100)}`);
});
