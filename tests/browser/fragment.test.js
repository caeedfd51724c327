// Frames as datagrams, and what frames need of each other.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readFileSync } from 'node:fs';
import { FRAGMENT_BYTES_MAX, FRAME_BYTES_MAX, fragment, fragmentWithParity } from '../../web/sdk/media/send/fragment.js';
import { References } from '../../web/sdk/media/send/references.js';
import { FRAGMENTS_MAX, MEDIA_BYTES_MAX, PREFIX_BYTES, decodeDatagram } from '../../web/sdk/wire.js';

const header = { track: 7, frame: 3, dependsOnDistance: 1, keyframe: false, temporalLayer: 2, spatialLayer: 1, audioLevel: 127, timestamp: 90_000 };

/** @param {number} length */
const frameOf = (length) => Uint8Array.from({ length }, (_, at) => at % 251);

for (const [bytes, count] of [[1, 1], [FRAGMENT_BYTES_MAX, 1], [FRAGMENT_BYTES_MAX + 1, 2], [5000, 6], [FRAME_BYTES_MAX, FRAGMENTS_MAX]]) {
  test(`a frame of ${bytes} bytes is ${count} datagrams of equal size`, () => {
    const datagrams = fragment(header, frameOf(bytes));
    assert.equal(datagrams.length, count);
    assert.ok(datagrams.every(({ length }) => length <= PREFIX_BYTES + MEDIA_BYTES_MAX));
    assert.equal(new Set(datagrams.slice(0, -1).map(({ length }) => length)).size, Math.min(1, count - 1));
    const medias = datagrams.map((datagram) => decodeDatagram(datagram));
    assert.deepEqual(Buffer.concat(medias.map(({ payload }) => payload)), Buffer.from(frameOf(bytes)));
    for (const [at, { payload, ...rest }] of medias.entries()) {
      assert.deepEqual(rest, { ...header, parity: false, onStream: false, fragmentIndex: at, fragmentCount: count });
      assert.ok(payload.length > 0);
    }
  });
}

test('a frame of many fragments leaves none of them empty', () => {
  for (let bytes = 1; bytes < 100_000; bytes += 997) {
    const datagrams = fragment(header, frameOf(bytes));
    assert.equal(datagrams.reduce((sum, { length }) => sum + length - 21, 0), bytes);
    assert.equal(decodeDatagram(datagrams[0]).fragmentCount, datagrams.length);
  }
});

/** @type {{ bytes: number, fragments: number, parity: string[] }[]} */
const vectors = JSON.parse(readFileSync(new URL('../golden/parity.json', import.meta.url), 'utf8'));

for (const { bytes, fragments, parity } of vectors) {
  test(`the parity of ${bytes} bytes is that of the Rust code`, () => {
    const payload = Uint8Array.from({ length: bytes }, (_, at) => at * 7 + Math.floor(at / 251));
    const its = { track: 7, frame: 3, dependsOnDistance: 0, keyframe: true, temporalLayer: 0, spatialLayer: 0, audioLevel: 127, timestamp: 0 };
    const all = fragmentWithParity(its, payload);
    assert.deepEqual(all.slice(fragments).map((datagram) => Buffer.from(datagram).toString('hex')), parity);
    assert.ok(all.every(({ length }) => length <= PREFIX_BYTES + MEDIA_BYTES_MAX));
  });
}

test('a frame that is nearly too long goes without parity', () => {
  assert.equal(fragmentWithParity(header, new Uint8Array(FRAME_BYTES_MAX)).length, FRAGMENTS_MAX);
});

test('a frame that is empty or too long is refused', () => {
  assert.throws(() => fragment(header, new Uint8Array()), { code: 'frame_size' });
  assert.throws(() => fragment(header, new Uint8Array(FRAME_BYTES_MAX + 1)), { code: 'frame_size' });
});

/** @param {string} layers one letter for each frame: k a keyframe, else its temporal layer */
function distances(layers) {
  const references = new References();
  return [...layers].map((letter) => references.next({ keyframe: letter === 'k', temporalLayer: letter === 'k' ? 0 : Number(letter) }).dependsOnDistance);
}

test('a frame needs the newest one of a lower layer, the base layer the one before it', () => {
  assert.deepEqual(distances('k000'), [0, 1, 1, 1]);
  assert.deepEqual(distances('k10101'), [0, 1, 2, 1, 2, 1]);
  assert.deepEqual(distances('k2120212'), [0, 1, 2, 1, 4, 1, 2, 1]);
});

test('nothing reaches back over a keyframe', () => {
  assert.deepEqual(distances('k21k20'), [0, 1, 2, 0, 1, 2]);
});

test('numbers go on after the references were forgotten', () => {
  const references = new References();
  references.next({ keyframe: true, temporalLayer: 0 });
  references.reset();
  assert.deepEqual(references.next({ keyframe: true, temporalLayer: 0 }), { frame: 1, dependsOnDistance: 0 });
});
