// Audio between decoder and speaker: the right delay, no clicks, nothing silent that could be heard.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JitterTarget } from '../../web/sdk/media/receive/jitter.js';
import { Playout } from '../../web/sdk/media/receive/playout.js';

const RATE = 48_000;
const FRAME = 960;
const BLOCK = 128;
const AMPLITUDE = 0.4;

/** A tone, cut into frames. @param {number} number @param {number} [hertz] */
function tone(number, hertz = 200) {
  return Float32Array.from({ length: FRAME }, (_, at) => AMPLITUDE * Math.sin((2 * Math.PI * hertz * (number * FRAME + at)) / RATE));
}

/** A playout with its clock: frames come when `arrivals` says, in milliseconds. */
class Speaker {
  playout;
  /** @type {number[]} */
  heard = [];
  #block = [new Float32Array(BLOCK)];

  constructor(sampleRate = RATE) {
    this.playout = new Playout({ channels: 1, sampleRate });
    this.sampleRate = sampleRate;
  }

  /** @param {{ number: number, atMs: number }[]} arrivals in order @param {number} untilMs @param {(number: number) => Float32Array} [soundOf] */
  play(arrivals, untilMs, soundOf = tone) {
    const waiting = [...arrivals];
    while ((this.heard.length * 1000) / this.sampleRate < untilMs) {
      const nowMs = (this.heard.length * 1000) / this.sampleRate;
      while (waiting.length > 0 && waiting[0].atMs <= nowMs) {
        const { number } = /** @type {{ number: number }} */ (waiting.shift());
        this.playout.push(number, number * 1800, [soundOf(number)]);
      }
      this.playout.pull(this.#block);
      this.heard.push(...this.#block[0]);
    }
    return this.playout.counts;
  }

  /** The largest step between two samples. @param {number} [fromMs] */
  roughness(fromMs = 0) {
    let most = 0;
    for (let at = Math.floor((fromMs * this.sampleRate) / 1000) + 1; at < this.heard.length; at++) most = Math.max(most, Math.abs(this.heard[at] - this.heard[at - 1]));
    return most;
  }

  /** The root mean square of a stretch. @param {number} fromMs @param {number} toMs */
  loudness(fromMs, toMs) {
    const samples = this.heard.slice((fromMs * this.sampleRate) / 1000, (toMs * this.sampleRate) / 1000);
    return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
  }
}

/** Frames of the first `count`, on time but for those of `late`, in milliseconds; `null`: lost. @param {number} count @param {Record<number, number | null>} [late] */
const onTime = (count, late = {}) =>
  Array.from({ length: count }, (_, number) => ({ number, atMs: number * 20 + (late[number] ?? 0) }))
    .filter(({ number }) => late[number] !== null)
    .toSorted((a, b) => a.atMs - b.atMs);

/** The steepest step of the tone itself. */
const STEEPEST = AMPLITUDE * 2 * Math.sin((Math.PI * 200) / RATE);
const FULL = AMPLITUDE / Math.SQRT2;

test('what comes in time is played as it is, once, after the target delay', () => {
  const speaker = new Speaker();
  speaker.playout.targetMs = 40;
  const counts = speaker.play(onTime(100), 2000);
  assert.deepEqual([counts.concealed, counts.underruns, counts.late, counts.stretched], [0, 0, 0, 0]);
  assert.ok(speaker.loudness(0, 15) < 0.01, 'silence before the target is reached');
  assert.ok(Math.abs(speaker.loudness(100, 1900) - FULL) < 0.01);
  assert.ok(speaker.roughness(0) < 1.3 * STEEPEST, `no click: ${speaker.roughness()}`);
  const begin = speaker.heard.findIndex((sample) => Math.abs(sample) > AMPLITUDE / 2) / 48;
  assert.ok(begin > 20 && begin < 50, `begins at ${begin} ms`);
});

test('a lost frame is concealed without a click, and its place in time is kept', () => {
  const speaker = new Speaker();
  speaker.playout.targetMs = 60;
  const counts = speaker.play(onTime(100, { 40: null, 41: null }), 2000);
  assert.equal(counts.concealed, 2 * FRAME);
  assert.equal(counts.underruns, 0);
  assert.ok(speaker.loudness(780, 940) > 0.6 * FULL, 'it is not silence');
  assert.ok(speaker.roughness() < 2 * STEEPEST, `no click: ${speaker.roughness()}`);
});

test('a late frame that is still in time is played', () => {
  const speaker = new Speaker();
  speaker.playout.targetMs = 60;
  const counts = speaker.play(onTime(100, { 40: 30, 50: 35 }), 2000);
  assert.deepEqual([counts.concealed, counts.late], [0, 0]);
});

test('when nothing more comes, the sound fades to silence within 100 ms', () => {
  const speaker = new Speaker();
  const counts = speaker.play(onTime(20), 1000);
  assert.ok(counts.concealed > 0 && counts.concealed <= RATE / 10, `${counts.concealed} samples`);
  assert.equal(speaker.loudness(600, 1000), 0);
  assert.ok(speaker.roughness() < 2 * STEEPEST);
  assert.equal(speaker.playout.timestamp, null);
});

test('after a pause it begins again softly, whatever was missed', () => {
  const speaker = new Speaker();
  const pause = [...onTime(20), ...onTime(60).slice(25).map(({ number, atMs }) => ({ number, atMs: atMs + 400 }))];
  const counts = speaker.play(pause, 1700);
  assert.ok(speaker.loudness(1000, 1500) > 0.9 * FULL);
  assert.ok(speaker.roughness() < 2 * STEEPEST);
  assert.equal(counts.played, 55 * FRAME);
});

test('too much is played faster until the target is reached, without a click', () => {
  const speaker = new Speaker();
  speaker.playout.targetMs = 40;
  // A standstill of 160 ms, then everything at once.
  const burst = onTime(200, Object.fromEntries([50, 51, 52, 53, 54, 55, 56, 57].map((number) => [number, (58 - number) * 20])));
  const counts = speaker.play(burst, 3900);
  assert.ok(counts.stretched > 0);
  assert.ok(speaker.playout.bufferedMs < 70, `${speaker.playout.bufferedMs} ms are kept`);
  assert.ok(speaker.roughness() < 2 * STEEPEST, `no click: ${speaker.roughness()}`);
});

test('what has piled up before anything was played is left out, and little of what piles up later', () => {
  const speaker = new Speaker();
  speaker.playout.targetMs = 40;
  for (let number = 0; number < 30; number++) speaker.playout.push(number, number * 1800, [tone(number)]);
  speaker.play([], 20);
  assert.ok(speaker.playout.bufferedMs <= 60, `${speaker.playout.bufferedMs} ms are kept`);
  speaker.play(onTime(60).slice(30).map(({ number, atMs }) => ({ number, atMs: atMs - 560 })), 1500);
  for (let number = 60; number < 90; number++) speaker.playout.push(number, number * 1800, [tone(number)]);
  speaker.play([], 1520);
  assert.ok(speaker.playout.bufferedMs > 200 && speaker.playout.bufferedMs <= 270, `${speaker.playout.bufferedMs} ms are kept`);
});

test('what piled up and comes just after the beginning is left out without a click', () => {
  const speaker = new Speaker();
  speaker.playout.targetMs = 40;
  const piled = Array.from({ length: 100 }, (_, number) => ({ number, atMs: number < 4 ? 0 : number < 24 ? 30 : (number - 20) * 20 - 30 }));
  const counts = speaker.play(piled, 400);
  assert.ok(speaker.playout.bufferedMs <= 80, `${speaker.playout.bufferedMs} ms are kept`);
  assert.deepEqual([counts.concealed, counts.underruns], [0, 0]);
  assert.ok(speaker.roughness() < 2 * STEEPEST, `no click: ${speaker.roughness()}`);
});

test('too little is played slower until the target is reached, without a click', () => {
  const speaker = new Speaker();
  speaker.playout.targetMs = 20;
  speaker.play(onTime(50), 900);
  const before = speaker.playout.counts.stretched;
  speaker.playout.targetMs = 120;
  const later = onTime(200).slice(50).map(({ number, atMs }) => ({ number, atMs }));
  const counts = speaker.play([...onTime(50).slice(45), ...later], 3800);
  assert.ok(counts.stretched - before > 60 * 48, `${counts.stretched - before} samples`);
  assert.ok(speaker.playout.bufferedMs > 80, `${speaker.playout.bufferedMs} ms are kept`);
  assert.equal(counts.underruns, 0);
  assert.ok(speaker.roughness() < 2 * STEEPEST);
});

test('a machine that takes samples in large pieces gets a reserve, and then nothing is missing', () => {
  const playout = new Playout({ channels: 1, sampleRate: RATE });
  const block = [new Float32Array(BLOCK)];
  let pushed = 0;
  /** @param {number} seconds */
  const run = (seconds) => {
    const before = playout.counts.underruns;
    // 40 ms at once, every 40 ms.
    for (let atMs = 0; atMs < seconds * 1000; atMs += 40) {
      for (let samples = 0; samples < 1920; samples += BLOCK) playout.pull(block);
      for (let frame = 0; frame < 2; frame++, pushed++) playout.push(pushed, pushed * 1800, [tone(pushed)]);
    }
    return playout.counts.underruns - before;
  };
  run(10);
  assert.ok(run(10) <= 2, 'it has learned');
});

test('what comes late every few seconds is missing in the beginning alone, where the speaker takes samples in large pieces', () => {
  const playout = new Playout({ channels: 1, sampleRate: RATE });
  const jitter = new JitterTarget();
  const block = [new Float32Array(BLOCK)];
  let [pushed, pulled, atMs] = [0, 0, 0];
  // Every six seconds, three frames come at once: too seldom for a percentile, and forgotten as a spike by the next time.
  const dueMs = () => (pushed % 300 < 3 ? (pushed - (pushed % 300)) * 20 + 50 : pushed * 20);
  /** @param {number} seconds */
  const run = (seconds) => {
    const before = playout.counts.underruns;
    for (const untilMs = atMs + seconds * 1000; atMs < untilMs; atMs++) {
      for (; dueMs() <= atMs; pushed++) {
        playout.targetMs = jitter.observe(atMs, pushed * 1800);
        playout.push(pushed, pushed * 1800, [tone(pushed)]);
      }
      // 30 ms at once, every 30 ms, as Firefox does.
      for (; atMs % 30 === 0 && pulled < (atMs + 30) * 48; pulled += BLOCK) playout.pull(block);
    }
    return playout.counts.underruns - before;
  };
  run(30);
  const missing = run(60);
  assert.ok(missing <= 1, `${missing} times`);
});

test('what a machine that is held up again and again misses is missing once', () => {
  const speaker = new Speaker();
  speaker.playout.targetMs = 20;
  // For 50 ms every four seconds, nothing comes.
  const heldUp = Array.from({ length: 1000 }, (_, number) => ({ number, atMs: Math.max(number * 20, number % 200 < 3 ? (number - (number % 200)) * 20 + 50 : 0) }));
  const missing = [10_000, 20_000].map((untilMs) => speaker.play(heldUp.filter(({ atMs }) => atMs >= untilMs - 10_000 && atMs < untilMs), untilMs).underruns);
  assert.deepEqual(missing, [1, 1]);
});

test('what the network lost is no reason to keep more', () => {
  const speaker = new Speaker();
  speaker.playout.targetMs = 20;
  // One frame of fifty does not come.
  const frames = onTime(1000, Object.fromEntries(Array.from({ length: 20 }, (_, at) => [50 * at + 25, null])));
  let [keptMs, looks] = [0, 0];
  for (let untilMs = 30; untilMs <= 19_900; untilMs += 70, looks++) {
    speaker.play(frames.filter(({ atMs }) => atMs >= untilMs - 70 && atMs < untilMs), untilMs);
    keptMs += speaker.playout.bufferedMs;
  }
  assert.ok(keptMs / looks < 38, `${keptMs / looks} ms`);
});

test('who is silent for a while again and again is not kept waiting for it', () => {
  const speaker = new Speaker();
  speaker.playout.targetMs = 40;
  // Ten seconds of speech and five of silence, eight times: nothing is sent in between, and captured later.
  const spoken = Array.from({ length: 8 * 500 }, (_, number) => ({ number, atMs: number * 20 + Math.floor(number / 500) * 5000 }));
  const push = speaker.playout.push.bind(speaker.playout);
  speaker.playout.push = (number, timestamp, planes) => push(number, timestamp + Math.floor(number / 500) * 5000 * 90, planes);
  speaker.play(spoken, 8 * 15_000 - 6000);
  assert.ok(speaker.playout.bufferedMs < 75, `${speaker.playout.bufferedMs} ms are kept`);
});

test('what was kept in reserve for a machine that was busy is taken back when it is not needed', () => {
  const speaker = new Speaker();
  const calm = onTime(3500).map(({ number, atMs }) => ({ number, atMs: number >= 100 && number < 110 ? 2280 : atMs }));
  const [busy, later] = [calm.filter(({ atMs }) => atMs <= 3000), calm.filter(({ atMs }) => atMs > 3000)];
  const { underruns } = speaker.play(busy, 3000);
  assert.ok(underruns > 0);
  const keptMs = speaker.playout.bufferedMs;
  assert.equal(speaker.play(later, 69_000).underruns, underruns);
  assert.ok(speaker.playout.bufferedMs < keptMs, `${keptMs} ms, then ${speaker.playout.bufferedMs} ms`);
});

test('frames far away begin anew, those long past are late, and nonsense is passed over', () => {
  const speaker = new Speaker();
  const { playout } = speaker;
  speaker.play(onTime(10), 200);
  playout.push(5, 0, [tone(5)]);
  assert.equal(playout.counts.late, 1);
  playout.push(11, 0, []);
  playout.push(11, 0, [new Float32Array(100_000)]);
  playout.push(1_000_000, 0, [tone(0)]);
  playout.push(1_000_001, 0, [tone(1)]);
  assert.ok(playout.bufferedMs >= 40);
  for (let number = 0; number < 500; number++) playout.push(number, 0, [tone(number)]);
  assert.ok(playout.bufferedMs < 700, 'bounded');
});

test('what is played now is told by the time of its capture', () => {
  const speaker = new Speaker();
  speaker.playout.targetMs = 40;
  speaker.play(onTime(100), 1000);
  const capturedMs = /** @type {number} */ (speaker.playout.timestamp) / 90;
  assert.ok(capturedMs > 930 && capturedMs < 980, `${capturedMs} ms`);
});

test('a speaker of another rate plays at the same pitch', () => {
  const speaker = new Speaker(44_100);
  speaker.play(onTime(100), 1900);
  let crossings = 0;
  const from = 44_100;
  for (let at = from; at < from + 22_050; at++) if (speaker.heard[at - 1] < 0 && speaker.heard[at] >= 0) crossings++;
  assert.ok(Math.abs(crossings - 100) <= 1, `${crossings} periods in half a second`);
});

test('two channels stay apart', () => {
  const playout = new Playout({ channels: 2, sampleRate: RATE });
  for (let number = 0; number < 10; number++) playout.push(number, 0, [tone(number), new Float32Array(FRAME)]);
  const blocks = [new Float32Array(BLOCK), new Float32Array(BLOCK)];
  let [left, right] = [0, 0];
  for (let block = 0; block < 60; block++) {
    playout.pull(blocks);
    left = Math.max(left, ...blocks[0]);
    right = Math.max(right, ...blocks[1]);
  }
  assert.ok(left > 0.9 * AMPLITUDE && right === 0);
});

test('frames that pile up behind a lost one in the beginning are counted as they are, and it goes on afterwards', () => {
  const speaker = new Speaker();
  const pile = Array.from({ length: 12 }, (_, at) => ({ number: at + 2, atMs: 100 }));
  speaker.play([{ number: 0, atMs: 0 }, ...pile], 600);
  assert.ok(speaker.playout.bufferedMs >= 0, `${speaker.playout.bufferedMs} ms are kept`);
  speaker.play(onTime(100).slice(30), 2000);
  assert.ok(speaker.loudness(1000, 1900) > 0.9 * FULL);
});

test('whatever comes in whatever order, what is kept is counted as it is', () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  let state = seed;
  const random = () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
  const block = [new Float32Array(BLOCK)];
  const sound = new Float32Array(FRAME);
  for (let round = 0; round < 100; round++) {
    const playout = new Playout({ channels: 1, sampleRate: RATE });
    for (let number = 0, blocks = 0; blocks < 600; blocks++) {
      // A frame for each 7.5 blocks, some lost, some old; now and then a pile of them.
      for (let count = random() < 0.01 ? 16 * random() : random() < 0.12 ? 1 : 0; count > 0; count--) {
        number++;
        if (random() < 0.9) playout.push(Math.max(0, random() < 0.1 ? number - Math.floor(40 * random()) : number), number * 1800, [sound]);
      }
      playout.pull(block);
      assert.ok(playout.bufferedMs >= 0, `SEED=${seed}: ${playout.bufferedMs} ms are kept`);
    }
  }
});
