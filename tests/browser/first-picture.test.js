// What the relay has kept for a new subscriber: it counts neither as late nor as old, and nothing of it is lost on the way in.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EARLY_MEDIA_MAX, EarlyMedia } from '../../web/sdk/early-media.js';
import { CatchUp } from '../../web/sdk/media/receive/catch-up.js';
import { Dependency } from '../../web/sdk/media/receive/dependency.js';
import { frame } from './frames.js';

/** Frames of 33 ms each in the 90 kHz of the wire. @param {number} number */
const captured = (number) => number * 33 * 90;

test('what comes at once is past, and what comes as it is captured is live', () => {
  const catchUp = new CatchUp();
  for (let number = 0; number < 20; number++) assert.equal(catchUp.observe(700 + number, captured(number)), false, `${number}`);
  assert.equal(catchUp.observe(730, captured(20)), false, 'the first after them comes soon');
  assert.deepEqual([catchUp.observe(763, captured(21)), catchUp.observe(764, captured(22))], [true, true], 'once live, it stays so');
  assert.deepEqual([0, 20, 21, 22].map((number) => catchUp.isPast(captured(number))), [true, true, false, false]);
});

test('a stream that is live from the beginning is known by its second frame', () => {
  const catchUp = new CatchUp();
  assert.equal(catchUp.isPast(captured(0)), false);
  assert.deepEqual([0, 1, 2].map((number) => catchUp.observe(number * 33, captured(number))), [false, true, true]);
});

test('another subscription may begin with what was seen already', () => {
  const dependency = new Dependency();
  dependency.push(frame(7));
  dependency.push(frame(8, { dependsOnDistance: 1 }));
  assert.deepEqual([dependency.pop(0)?.header.frame, dependency.pop(0)?.header.frame], [7, 8]);
  dependency.beginAgain();
  dependency.push(frame(9, { dependsOnDistance: 1 }));
  assert.equal(dependency.pop(0), null, 'it needs one that is forgotten');
  dependency.push(frame(7));
  assert.equal(dependency.pop(0)?.header.frame, 7);
});

test('early media is bounded, and the last of it is kept', () => {
  const early = new EarlyMedia();
  for (let number = 0; number < EARLY_MEDIA_MAX + 10; number++) early.keep(Uint8Array.of(number));
  const taken = early.take();
  assert.deepEqual([taken.length, taken[0][0], early.take().length], [EARLY_MEDIA_MAX, 10, 0]);
});
