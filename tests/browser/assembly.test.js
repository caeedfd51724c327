// Datagrams into whole frames: in any order, once, and never without bound.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AGE_MS_MAX, Assembly, BYTES_MAX, FRAMES_MAX } from '../../web/sdk/media/receive/assembly.js';
import { AUDIO_GAP_MAX, LATE_MS_MAX } from '../../web/sdk/media/receive/losses.js';
import { fragmentWithParity } from '../../web/sdk/media/send/fragment.js';
import { FRAGMENTS_MAX, decodeDatagram } from '../../web/sdk/wire.js';
import { datagrams, header } from './frames.js';

/** @typedef {import('../../web/sdk/wire/media.js').Media} Media */

/** Numbers of the frames that come out. @param {Assembly} assembly @param {Media[]} all @param {number} [nowMs] */
const push = (assembly, all, nowMs = 0) => all.flatMap((media) => assembly.push(nowMs, media)?.header.frame ?? []);

test('a frame comes out as it was cut, in any order, and once', () => {
  const assembly = new Assembly();
  const all = datagrams(5, 3);
  const out = [...all.toReversed(), ...all].map((media) => assembly.push(7, media)).filter((frame) => frame !== null);
  assert.deepEqual(out, [{ header: header(5), payload: Uint8Array.of(0, 0, 1, 1, 2, 2), wholeAtMs: 7 }]);
  assert.deepEqual([assembly.frames, assembly.bytes], [0, 0]);
});

test('frames that are mixed up come out when they are whole', () => {
  const [one, two] = [datagrams(1, 2), datagrams(2, 2)];
  assert.deepEqual(push(new Assembly(), [one[0], two[1], two[0], one[1]]), [2, 1]);
});

test('renditions are counted by themselves', () => {
  assert.deepEqual(push(new Assembly(), [...datagrams(5, 1), ...datagrams(5, 1, { spatialLayer: 1 })]), [5, 5]);
});

test('a fragment that contradicts the first, and parity, are passed over', () => {
  const [first, second] = datagrams(1, 2);
  assert.deepEqual(push(new Assembly(), [first, { ...second, fragmentCount: 5 }, { ...second, parity: true }, second]), [1]);
});

test('incomplete frames are bounded in number', () => {
  const assembly = new Assembly();
  for (let number = 0; number < 1000; number++) push(assembly, datagrams(number, 2).slice(1));
  assert.deepEqual([assembly.frames, assembly.bytes], [FRAMES_MAX, 2 * FRAMES_MAX]);
  assert.deepEqual(push(assembly, datagrams(1, 2)), [], 'one that was given up does not come back');
});

test('incomplete frames are bounded in bytes, over all renditions', () => {
  const assembly = new Assembly();
  for (let number = 0; number < 4; number++) {
    for (const spatialLayer of [0, 1]) push(assembly, datagrams(number, FRAGMENTS_MAX, { spatialLayer }, 980).slice(1));
    assert.ok(assembly.bytes <= BYTES_MAX);
  }
  assert.ok(assembly.frames <= 2);
});

test('incomplete frames are bounded in age', () => {
  const assembly = new Assembly();
  push(assembly, datagrams(1, 2).slice(1), 0);
  push(assembly, datagrams(2, 2).slice(1), AGE_MS_MAX);
  assert.equal(assembly.frames, 2);
  push(assembly, datagrams(3, 2).slice(1), AGE_MS_MAX + 1);
  assert.equal(assembly.frames, 2);
});

test('what comes on a stream is not too old while something of it comes, and nothing of it is lost', () => {
  const assembly = new Assembly();
  const all = datagrams(1, 3, { onStream: true });
  all.slice(0, 2).forEach((media, at) => assembly.push(at * AGE_MS_MAX, media));
  assembly.push(1.5 * AGE_MS_MAX, datagrams(2, 2)[0]);
  assert.deepEqual(push(assembly, [all[2]], 2 * AGE_MS_MAX), [1]);
  assert.deepEqual(assembly.takeCounts(2 * AGE_MS_MAX, true), { received: 4, lost: 1 });
});

test('a publisher that begins again is followed, and frames that are only late are not', () => {
  const assembly = new Assembly();
  assert.deepEqual(push(assembly, datagrams(1000, 1)), [1000]);
  assert.deepEqual(push(assembly, datagrams(3, 1)), []);
  assert.deepEqual(push(assembly, datagrams(0, 1, { timestamp: 1001 * 3000 })), [0]);
  assert.deepEqual(push(assembly, datagrams(1, 1, { timestamp: 1002 * 3000 })), [1]);
});

test('what did not come is counted once it cannot be late any more', () => {
  const assembly = new Assembly();
  push(assembly, datagrams(1, 4));
  push(assembly, datagrams(2, 4).slice(1));
  push(assembly, datagrams(4, 4));
  assert.deepEqual(assembly.takeCounts(LATE_MS_MAX - 1, true), { received: 11, lost: 0 });
  push(assembly, datagrams(2, 4).slice(0, 1));
  const lost = assembly.takeCounts(LATE_MS_MAX, true);
  assert.deepEqual(lost, { received: 1, lost: 4 }, 'frame 3 would have been as large as the others');
  assert.deepEqual(assembly.takeCounts(10 * LATE_MS_MAX, true), { received: 0, lost: 0 });
});

test('frames that were left out on purpose are not lost, and their missing rests are', () => {
  const assembly = new Assembly();
  push(assembly, datagrams(1, 1));
  push(assembly, datagrams(3, 3).slice(1));
  assert.deepEqual(assembly.takeCounts(1000, false), { received: 3, lost: 1 });
});

test('doubles are neither received nor lost, and a new beginning is no loss', () => {
  const assembly = new Assembly();
  push(assembly, [...datagrams(1, 1), ...datagrams(1, 1), ...datagrams(2, 1), ...datagrams(1, 1), ...datagrams(5000, 1)]);
  assert.deepEqual(assembly.takeCounts(1000, true), { received: 3, lost: 0 });
});

/** Ten fragments in three groups, and their parity. */
const withParity = () => fragmentWithParity(header(5), Uint8Array.from({ length: 9000 }, (_, at) => at / 7)).map((datagram) => decodeDatagram(datagram));

test('parity makes up for one fragment of each group, wherever it comes', () => {
  for (const lost of [[0, 1, 2], [7, 8, 9], [9, 4, 2]]) {
    const came = withParity().filter((_, at) => !lost.includes(at));
    assert.equal(came.length, 10);
    for (let turn = 0; turn < came.length; turn++) {
      const assembly = new Assembly();
      const frames = came.map((media) => assembly.push(7, media));
      assert.deepEqual(frames.slice(0, -1).filter((frame) => frame !== null), []);
      assert.deepEqual(frames.at(-1)?.payload, Uint8Array.from({ length: 9000 }, (_, at) => at / 7));
      assert.deepEqual([frames.at(-1)?.header, assembly.bytes], [header(5), 0]);
      came.push(.../** @type {Media[]} */ (came.splice(0, 1)));
    }
  }
});

test('two of a group are too many, and one of them sent once more is enough', () => {
  const all = withParity();
  const assembly = new Assembly();
  assert.deepEqual(push(assembly, all.filter((_, at) => at !== 0 && at !== 3)), []);
  assert.deepEqual(push(assembly, [all[3]]), [5]);
});

test('what had to be made again or sent once more was lost', () => {
  const assembly = new Assembly();
  const all = withParity();
  push(assembly, all.filter((_, at) => at !== 0 && at !== 3 && at !== 4));
  assembly.push(0, all[3], true);
  assert.deepEqual(assembly.takeCounts(LATE_MS_MAX, true), { received: 7, lost: 3 });
});

test('audio that was not passed on for a while is not lost', () => {
  for (const [step, lost] of [[AUDIO_GAP_MAX + 1, AUDIO_GAP_MAX], [AUDIO_GAP_MAX + 2, 0]]) {
    const assembly = new Assembly(AUDIO_GAP_MAX);
    push(assembly, [...datagrams(1, 1), ...datagrams(1 + step, 1)]);
    assert.deepEqual(assembly.takeCounts(LATE_MS_MAX, true), { received: 2, lost });
  }
});
