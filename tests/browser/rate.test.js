// How the rate follows what is reported, in made-up time, over made-up ways.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RATE_MAX, RATE_MIN, RATE_START, RateControl, audioBitrate, share, shareWithParity } from '../../web/sdk/media/send/rate.js';
import { Load, QUALITY_STEPS, qualityStep } from '../../web/sdk/media/send/quality.js';

const clean = { received: 100, lost: 0, jitterMs: 2, delayMs: 3 };
const SECOND_MS = 1000;

/**
 * A way with a capacity: what is beyond it waits up to `queueMs`, and is lost after that. The sender sends what it may, up to `most`.
 * @param {number} seconds @param {{ capacity: (second: number) => number, queueMs?: number, loss?: number, most?: number }} way
 */
function simulate(seconds, { capacity, queueMs = 300, loss = 0, most = RATE_MAX }) {
  const control = new RateControl();
  const targets = /** @type {number[]} */ ([]);
  let queuedBits = 0;
  for (let second = 0; second < seconds; second++) {
    const sent = Math.min(control.target, most);
    queuedBits = Math.max(0, queuedBits + sent - capacity(second));
    const queueMax = (capacity(second) * queueMs) / 1000;
    const dropped = Math.max(0, queuedBits - queueMax);
    queuedBits -= dropped;
    const lost = Math.min(1, dropped / sent + loss);
    const delayMs = (queuedBits / capacity(second)) * 1000;
    control.report(1, { received: Math.round(1000 * (1 - lost)), lost: Math.round(1000 * lost), jitterMs: 3, delayMs }, second * SECOND_MS);
    targets.push(control.update(sent, second * SECOND_MS));
  }
  return targets;
}

/** @param {number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

test('nothing is changed while nobody reports', () => {
  const control = new RateControl();
  for (let second = 0; second < 20; second++) assert.equal(control.update(300_000, second * SECOND_MS), RATE_START);
});

test('a free way is used within some seconds', () => {
  const targets = simulate(10, { capacity: () => 100_000_000 });
  assert.ok(targets.indexOf(RATE_MAX) < 5, `${targets}`);
});

test('the target does not run away from what is really sent', () => {
  const targets = simulate(30, { capacity: () => 100_000_000, most: 500_000 });
  assert.ok(Math.max(...targets) <= RATE_START);
});

test('a narrow way is filled by more than half, and hardly overfilled', () => {
  for (const capacity of [300_000, 800_000, 2_000_000]) {
    const late = simulate(120, { capacity: () => capacity }).slice(20);
    assert.ok(mean(late) > capacity * 0.6, `${capacity}: ${mean(late)}`);
    assert.ok(late.filter((target) => target > capacity * 1.1).length <= late.length * 0.05, `${capacity}: ${late}`);
  }
});

test('the rate does not swing: attempts at what was too much become seldom', () => {
  const late = simulate(300, { capacity: () => 1_000_000 }).slice(30);
  const falls = late.filter((target, at) => at > 0 && target < late[at - 1]).length;
  assert.ok(falls <= 10, `${falls} falls in 270 s`);
});

test('a way that becomes narrow is followed within seconds, and used again when it is wide', () => {
  const targets = simulate(150, { capacity: (second) => (second >= 30 && second < 60 ? 400_000 : 4_000_000) });
  assert.ok(targets[29] > 2_000_000);
  assert.ok(Math.max(...targets.slice(42, 60)) <= 450_000, `${targets.slice(30, 60)}`);
  assert.ok(targets[149] > 2_000_000, `${targets.slice(60)}`);
});

test('a little loss at random costs nothing, much of it costs half of its part', () => {
  assert.ok(mean(simulate(60, { capacity: () => 50_000_000, loss: 0.01 }).slice(10)) > 4_000_000);
  const control = new RateControl();
  control.report(1, { ...clean, received: 80, lost: 20 }, 0);
  assert.equal(control.update(RATE_START, 0), RATE_START * 0.9);
});

test('between 2 and 10 percent of loss the rate stays', () => {
  assert.deepEqual(new Set(simulate(30, { capacity: () => 50_000_000, loss: 0.05 })), new Set([RATE_START]));
});

test('a queue lowers to 0.85 of what arrives', () => {
  const control = new RateControl();
  control.report(1, { ...clean, delayMs: 41 }, 0);
  control.report(2, clean, 0);
  assert.equal(control.update(1_000_000, 0), 850_000);
  const short = new RateControl();
  short.report(1, { ...clean, jitterMs: 40, delayMs: 40 }, 0);
  assert.ok(short.update(RATE_START, 0) >= RATE_START);
});

test('audio that is late alone has a late device, not a queue in its way', () => {
  const late = { ...clean, delayMs: 400 };
  const targets = [[late], [late, clean], [clean, late]].map(([audio, video]) => {
    const control = new RateControl();
    control.report(1, audio, 0, true);
    if (video) control.report(2, video, 0);
    return control.update(1_000_000, 0);
  });
  assert.deepEqual(targets.map((target) => target < RATE_START), [true, false, true]);
});

test('while little is sent, a queue says little of the way', () => {
  const control = new RateControl();
  const queueing = { ...clean, delayMs: 250 };
  const speech = 36_000;
  for (let second = 0; second < 3; second++) {
    control.report(1, clean, second * SECOND_MS);
    control.update(600_000, second * SECOND_MS);
  }
  // The camera goes off, and what the microphone gives is late for some seconds.
  for (let second = 3; second < 10; second++) {
    control.report(1, queueing, second * SECOND_MS);
    control.update(speech, second * SECOND_MS);
  }
  assert.ok(control.target > 300_000, `${control.target}`);
  // It goes on, and it is a way that carries less.
  control.report(1, queueing, 11 * SECOND_MS);
  assert.ok(control.update(200_000, 11 * SECOND_MS) <= 170_000, `${control.target}`);
});

test('one decrease is given time to show, and an old report says nothing', () => {
  const control = new RateControl();
  const bad = { ...clean, delayMs: 400 };
  control.report(1, bad, 0);
  const lowered = control.update(RATE_START, 0);
  control.report(1, bad, SECOND_MS);
  assert.equal(control.update(lowered, SECOND_MS), lowered);
  assert.equal(control.update(lowered, 10 * SECOND_MS), lowered);
});

test('the rate never falls below what speech needs', () => {
  const targets = simulate(200, { capacity: () => 10_000 });
  assert.ok(Math.min(...targets) >= RATE_MIN);
});

test('a rate is shared by need: first the least of each, then what each could still use', () => {
  const demands = [{ bitrateMin: 40, bitrateMax: 200 }, { bitrateMin: 100, bitrateMax: 600 }];
  assert.deepEqual(share(70, demands), [20, 50]);
  assert.deepEqual(share(140, demands), [40, 100]);
  assert.deepEqual(share(470, demands), [120, 350]);
  assert.deepEqual(share(5000, demands), [200, 600]);
  assert.deepEqual(share(100, []), []);
  assert.deepEqual(share(-5, demands), [0, 0]);
});

test('without loss, upper layers go with parity where the way takes it on top', () => {
  const demands = [{ bitrateMin: 100_000, bitrateMax: 500_000 }];
  const rooms = [700_000, 699_000, 300_000].map((total) => shareWithParity(total, demands, false));
  assert.deepEqual(rooms, [{ bitrates: [500_000], hasRoom: true }, { bitrates: [500_000], hasRoom: false }, { bitrates: [300_000], hasRoom: false }]);
  assert.deepEqual(shareWithParity(0, [], false), { bitrates: [], hasRoom: true });
});

test('while there is loss, pictures leave room for the parity of all layers, down to their least', () => {
  const demands = [{ bitrateMin: 100_000, bitrateMax: 500_000 }, { bitrateMin: 50_000, bitrateMax: 150_000 }];
  const lossy = (/** @type {number} */ total) => shareWithParity(total, demands, true);
  assert.deepEqual(lossy(1_400_000), { bitrates: [500_000, 150_000], hasRoom: true });
  const { bitrates: [large, small], hasRoom } = lossy(560_000);
  assert.deepEqual([large + small, hasRoom], [400_000, true]);
  assert.deepEqual(lossy(210_000), { bitrates: [100_000, 50_000], hasRoom: true });
  assert.deepEqual(lossy(209_000), shareWithParity(209_000, demands, false), 'there is none to leave');
});

test('audio gives way last', () => {
  assert.equal(audioBitrate(1_000_000, 32_000), 32_000);
  assert.equal(audioBitrate(100_000, 32_000), 25_000);
  assert.equal(audioBitrate(RATE_MIN, 32_000), 16_000);
});

test('with fewer bits there are first fewer frames, then smaller ones, and a better step needs a margin', () => {
  const steps = [1000, 700, 500, 330, 170, 100, 10].map((bitrate) => qualityStep(bitrate, 1000, 0));
  assert.deepEqual(steps, [0, 1, 2, 3, 4, 5, 5]);
  assert.equal(qualityStep(1100, 1000, 1), 1);
  assert.equal(qualityStep(1250, 1000, 1), 0);
});

/** A machine that gets 30 frames a second, and how many of them it does not manage. */
class Machine {
  load = new Load();
  #frame = 0;

  constructor() {
    this.load.frame(false, 0);
  }

  /** @param {number} seconds @param {number} nth each of these frames is dropped; 0: none @returns {number} the step after it */
  run(seconds, nth) {
    for (let frame = 0; frame < seconds * 30; frame++) this.load.frame(nth > 0 && frame % nth === 0, (++this.#frame * SECOND_MS) / 30);
    return this.load.step;
  }
}

test('a machine that does not keep up gets less to do, until it does', () => {
  const machine = new Machine();
  assert.equal(machine.run(4, 0), 0);
  assert.equal(machine.run(4, 3), 2);
  assert.equal(machine.run(2, 2), 4);
  assert.equal(machine.run(60, 2), QUALITY_STEPS.length - 1);
});

test('a better step is tried after a while, and more and more seldom if it is too much', () => {
  const machine = new Machine();
  assert.equal(machine.run(2, 4), 1);
  assert.deepEqual([machine.run(6, 0), machine.run(2, 0)], [1, 0]);
  // It fails at once: twice the wait.
  assert.equal(machine.run(2, 4), 1);
  assert.deepEqual([machine.run(14, 0), machine.run(2, 0)], [1, 0]);
});
