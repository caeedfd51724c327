// Where a track of someone else is shown, with elements and an engine that are made up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RemoteTrack } from '../../web/sdk/media/receive/remote-track.js';

class FakeElement {
  style = {};
  /** @type {FakeElement[]} */
  children = [];
  /** @type {FakeElement | null} */
  parent = null;
  /** @param {FakeElement} child */
  appendChild(child) {
    child.remove();
    child.parent = this;
    this.children.push(child);
    return child;
  }
  /** @param {FakeElement} other */
  replaceWith(other) {
    other.remove();
    other.parent = this.parent;
    this.parent?.children.splice(this.parent.children.indexOf(this), 1, other);
    this.parent = null;
  }
  remove() {
    if (this.parent) this.parent.children = this.parent.children.filter((child) => child !== this);
    this.parent = null;
  }
}
class FakeCanvas extends FakeElement {
  /** @type {Set<string>} */
  attributes = new Set();
  /** @param {string} name @param {boolean} isSet */
  toggleAttribute(name, isSet) {
    if (isSet) this.attributes.add(name);
    else this.attributes.delete(name);
  }
}
Object.assign(globalThis, {
  HTMLMediaElement: class {}, HTMLImageElement: class {}, HTMLCanvasElement: FakeCanvas, document: { createElement: () => new FakeCanvas() },
});

const any = (/** @type {unknown} */ value) => /** @type {any} */ (value);
/** Canvases that some meeting has. */
const given = new Set();

/** A meeting that takes each canvas once. */
function engine() {
  return any({
    attached(/** @type {unknown} */ canvas) {
      if (given.has(canvas)) throw new Error('This canvas was drawn on already.');
      given.add(canvas);
    },
    detached() {},
  });
}

test('what is shown in an element is shown there in the next meeting too', () => {
  const track = new RemoteTrack(any({ track: 1, muted: false, info: { source: 'camera', codec: 'vp8', media: { type: 'video' } } }));
  const element = new FakeElement();
  const before = track.attach(any(element));
  track.connect(engine());
  assert.deepEqual([element.children, given.has(before)], [[before], true], 'attached before there was a meeting');
  track.connect(null);
  assert.deepEqual(element.children, [before], 'the last picture stays');
  track.connect(engine());
  const [after] = element.children;
  assert.deepEqual([element.children.length, after !== any(before), given.has(after)], [1, true, true]);
  track.detach();
  assert.deepEqual(element.children, []);
});

test('canvases say of upright pictures that they are', () => {
  const track = new RemoteTrack(any({ track: 1, muted: false, info: { source: 'camera', codec: 'vp8', media: { type: 'video' } } }));
  const one = any(track.attach(any(new FakeElement())));
  track.resized({ width: 360, height: 640 });
  const other = any(track.attach(any(new FakeElement())));
  assert.deepEqual([one, other].map(({ attributes }) => [...attributes]), [['data-upright'], ['data-upright']]);
  track.resized({ width: 640, height: 360 });
  assert.deepEqual([one, other].map(({ attributes }) => [...attributes]), [[], []]);
});
