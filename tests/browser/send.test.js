// What a page publishes, in a real browser with fake devices: the frames that leave, and what becomes of the devices.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { complaints } from './meeting.js';
import { allStarted, startBrowser, startRelay } from './relay.js';
import { decode, enable, forget, frames, openPublisher, rests, run, until } from './sending.js';

/** @typedef {import('./sending.js').SentFrame} SentFrame */

const WITHOUT_CLICK = '--autoplay-policy=no-user-gesture-required';
const SMALL = { width: 640, height: 360 };
/** Of a camera, a frame and its copy may be in work at any moment. */
const OPEN_FRAMES_MAX = 2;

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./relay.js').Relay} */
let relay;

before(async () => {
  [browser, relay] = await allStarted([startBrowser({ cameras: 3, args: [WITHOUT_CLICK] }), startRelay()]);
});

after(async () => {
  await browser?.close();
  await relay?.stop();
  assert.deepEqual(complaints, []);
});

/** @param {string} name @param {(page: import('playwright-core').Page) => Promise<void>} act @param {Parameters<typeof openPublisher>[2]} [made] */
function publishes(name, act, made) {
  test(name, { timeout: 120_000 }, async () => {
    const page = await openPublisher(browser, relay.url, made);
    try {
      await act(page);
    } finally {
      await page.context().close();
    }
  });
}

/** @param {SentFrame[]} sent of one spatial layer, from its first frame on */
function areWhole(sent) {
  assert.ok(sent[0].header.keyframe, 'the first is a keyframe');
  for (const [at, { header, isEqual }] of sent.entries()) {
    assert.equal(header.frame, sent[0].header.frame + at, 'frames are counted by one');
    assert.ok(header.keyframe ? header.dependsOnDistance === 0 : header.dependsOnDistance > 0 && header.dependsOnDistance <= header.frame);
    assert.ok(isEqual, 'datagrams are of equal size');
    // Each reference is of a lower temporal layer, or of the base layer.
    const reference = sent[at - header.dependsOnDistance]?.header;
    assert.ok(!reference || header.keyframe || reference.temporalLayer === 0 || reference.temporalLayer < header.temporalLayer);
  }
}

publishes('the camera leaves as whole frames that can be decoded, in two sizes', async (page) => {
  await enable(page, 'camera', true, SMALL);
  const [small, large] = [await frames(page, 40, 'header.spatialLayer === 0'), await frames(page, 40, 'header.spatialLayer === 1')];
  for (const sent of [small, large]) areWhole(sent);
  assert.deepEqual(new Set(large.map(({ header }) => header.temporalLayer)), new Set([0, 1, 2]));
  for (const [layer, size] of /** @type {const} */ ([[0, '320x180'], [1, '640x360']])) {
    const { given, sizes } = await decode(page, layer, 'vp8');
    assert.deepEqual(sizes, Array(given).fill(size));
  }
  const [publish] = await run(page, 'test.asked');
  assert.deepEqual(publish.track.media, { type: 'video', ...SMALL, frameRate: { numerator: 30, denominator: 1 }, temporalLayers: 3, spatialLayers: 2 });
  assert.deepEqual(await run(page, 'test.events'), [{ type: 'localTrackPublished', source: 'camera' }]);
  assert.ok((await run(page, 'test.bursts')).every((/** @type {number} */ count) => count <= 10), 'bursts are small');
});

/** Put before the worker that encodes: keeps the frames of a camera that are open, and counts all. */
function countFrames() {
  const open = new Set();
  const counts = { made: 0, open: () => open.size };
  const made = (/** @type {VideoFrame} */ frame) => {
    counts.made++;
    open.add(frame);
    return frame;
  };
  const { prototype } = VideoFrame;
  const { close, clone } = prototype;
  prototype.close = function () {
    open.delete(this);
    close.call(this);
  };
  prototype.clone = function () { return made(clone.call(this)); };
  const { read } = ReadableStreamDefaultReader.prototype;
  ReadableStreamDefaultReader.prototype.read = async function () {
    const part = await read.call(this);
    if (part.value instanceof VideoFrame) made(part.value);
    return part;
  };
  const construct = (/** @type {typeof VideoFrame} */ Frame, /** @type {ConstructorParameters<typeof VideoFrame>} */ given) => made(new Frame(...given));
  Object.assign(globalThis, { VideoFrame: new Proxy(VideoFrame, { construct }), counts });
}

// What a browser says of frames that nobody closed, it says once in ten seconds, whether it was one frame or all.
publishes('each frame of the camera is closed', async (page) => {
  await enable(page, 'camera', true, SMALL);
  await frames(page, 60);
  const { made, open } = await page.workers()[0].evaluate(() => {
    const { made, open } = /** @type {any} */ (globalThis).counts;
    return { made, open: open() };
  });
  assert.ok(made >= 60 && open <= OPEN_FRAMES_MAX, `${open} of ${made} frames are open`);
}, { before: countFrames });

publishes('pictures go on streams for a while after the browser did not take datagrams in time, where it drops them', async (page) => {
  await Promise.all([enable(page, 'camera', true, SMALL), enable(page, 'microphone', true)]);
  const { id: camera } = await run(page, `({ id: publishing.tracks.get('camera').id })`);
  await frames(page, 20, `header.track === ${camera}`);
  assert.equal(await run(page, 'test.frames.filter(({ header: { onStream } }) => onStream).length'), 0);
  // In one second after the other.
  await run(page, 'void (test.leavingOut = setInterval(() => test.leftOut++, 300))');
  await frames(page, 20, 'header.onStream');
  await run(page, 'void clearInterval(test.leavingOut)');
  await forget(page);
  await until(page, 'test.ahead.length >= 20');
  const audio = await frames(page, 20, `header.track !== ${camera}`);
  assert.deepEqual(audio.filter(({ header }) => header.onStream), [], 'audio leaves as before, and copies of it go ahead');
  await frames(page, 20, `header.track === ${camera} && !header.onStream`);
}, { before: seemFirefox });

/** Runs in the worker. */
function seemFirefox() {
  Object.defineProperty(navigator, 'userAgent', { value: 'Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0' });
}

publishes('what nobody takes is not encoded', async (page) => {
  await enable(page, 'camera', true, { width: 1280, height: 720 });
  await frames(page, 3, 'header.spatialLayer === 2');
  assert.deepEqual(new Set((await frames(page, 6)).map(({ header }) => header.spatialLayer)), new Set([0, 2]));
  await run(page, 'publishing.layersWanted({ track: 1, spatialLayers: 0b010, temporalLayer: 7 })');
  const [first] = await frames(page, 1, 'header.spatialLayer === 1');
  assert.ok(first.header.keyframe);
  await forget(page);
  areWholeDeltas(await frames(page, 20));
  await run(page, 'publishing.layersWanted({ track: 1, spatialLayers: 0b010, temporalLayer: 0 })');
  // Upper layers end with the next frame of the base layer.
  await forget(page);
  await frames(page, 3, 'header.temporalLayer === 0');
  await forget(page);
  const base = await frames(page, 5);
  assert.deepEqual(new Set(base.map(({ header }) => header.temporalLayer)), new Set([0]));
  areWholeDeltas(base);
  // After a while they are not encoded either.
  await until(page, 'publishing.stats().tracks[0].renditions[0]?.temporalLayers === 1');
  const [{ layer, frameRate }] = await run(page, 'publishing.stats().tracks[0].renditions');
  assert.deepEqual([layer, frameRate], [1, 7.5]);
  await forget(page);
  areWholeDeltas(await frames(page, 5));
});

/** @param {SentFrame[]} sent of the middle rendition */
function areWholeDeltas(sent) {
  assert.deepEqual(new Set(sent.map(({ header }) => header.spatialLayer)), new Set([1]));
  assert.ok(sent.every(({ header }, at) => header.frame === sent[0].header.frame + at));
}

publishes('while nobody takes anything, nothing is encoded, and the first who does gets a keyframe', async (page) => {
  await enable(page, 'camera', true, SMALL);
  await frames(page, 10);
  await run(page, 'publishing.layersWanted({ track: 1, spatialLayers: 0, temporalLayer: 0 })');
  await rests(page);
  await forget(page);
  await run(page, 'publishing.layersWanted({ track: 1, spatialLayers: 1, temporalLayer: 7 })');
  const [first] = await frames(page, 1);
  assert.deepEqual([first.header.keyframe, first.header.spatialLayer], [true, 0]);
});

publishes('a keyframe is made when it is asked for, of that rendition alone', async (page) => {
  await enable(page, 'camera', true, SMALL);
  await frames(page, 20);
  await forget(page);
  await run(page, 'publishing.keyframeRequested(1, 1)');
  await frames(page, 1, 'header.keyframe && header.spatialLayer === 1');
  await frames(page, 40);
  const keyframes = (await frames(page, 1)).filter(({ header }) => header.keyframe);
  assert.deepEqual(keyframes.map(({ header }) => header.spatialLayer), [1]);
});

publishes('the microphone leaves as frames of 20 ms whose levels follow the beeps', async (page) => {
  await enable(page, 'microphone', true);
  const sent = await frames(page, 150);
  assert.ok(sent.every(({ header, datagrams }) => header.keyframe && header.dependsOnDistance === 0 && datagrams === 1));
  assert.ok(sent.every(({ header }, at) => header.frame === at));
  const levels = sent.map(({ header }) => header.audioLevel);
  assert.ok(Math.min(...levels) < 30 && Math.max(...levels) > 100, `${levels}`);
  // Those that waited while all this began are late.
  const late = sent.slice(50);
  // Half of them: a microphone that stands still for a moment says so in the steps before and after.
  const steps = late.slice(1).map(({ header: { timestamp } }, at) => (timestamp - late[at].header.timestamp) >>> 0).toSorted((a, b) => a - b);
  const step = steps[steps.length >> 1];
  assert.ok(Math.abs(step - 1800) < 18, `${step} ticks for a frame: ${steps}`);
  const ages = late.map(({ header, atMs }) => ((Math.round(atMs * 90) - header.timestamp) >>> 0) / 90);
  console.log('age of audio when it leaves, 20 ms of it the frame itself:', quantiles(ages));
  await until(page, 'publishing.tracks.get("microphone").level > 0.3');
});

/** @param {number[]} values */
function quantiles(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return `p50 ${sorted[sorted.length >> 1].toFixed(1)} ms, p95 ${sorted[Math.floor(sorted.length * 0.95)].toFixed(1)} ms`;
}

publishes('muting stops the flow, and turning it on again begins it at once', async (page) => {
  await enable(page, 'microphone', true);
  const before = await frames(page, 10);
  await enable(page, 'microphone', false);
  await rests(page);
  assert.equal(await run(page, 'publishing.tracks.get("microphone").mediaStreamTrack.readyState'), 'live');
  await forget(page);
  await enable(page, 'microphone', true);
  const [first] = await frames(page, 10);
  assert.ok(first.header.frame >= before.length && first.header.track === 1);
  const asked = await run(page, 'test.asked.map(({ type, track, muted }) => [type, muted ?? typeof track])');
  assert.deepEqual(asked, [['publish', 'object'], ['setMuted', true], ['setMuted', false]]);
});

publishes('a camera that is off has its device stopped, and comes back as the same track', async (page) => {
  await enable(page, 'camera', true, SMALL);
  await frames(page, 5);
  await enable(page, 'camera', false);
  const track = 'publishing.tracks.get("camera")';
  assert.deepEqual(await run(page, `[${track}.muted, ${track}.mediaStreamTrack.readyState, ${track}.id]`), [true, 'ended', 1]);
  await rests(page);
  await forget(page);
  await enable(page, 'camera', true);
  const [first] = await frames(page, 10, 'header.spatialLayer === 1');
  assert.ok(first.header.keyframe && first.header.track === 1 && first.header.frame > 0);
  assert.deepEqual(await run(page, `[${track}.muted, ${track}.mediaStreamTrack.readyState]`), [false, 'live']);
});

publishes('an admin mutes, and only the person unmutes', async (page) => {
  await enable(page, 'camera', true, SMALL);
  await frames(page, 5);
  await run(page, 'publishing.mutedByAdmin(1, true)');
  assert.deepEqual(await run(page, 'test.events[1]'), { type: 'localTrackMuted', source: 'camera', muted: true, byAdmin: true });
  assert.equal(await run(page, 'publishing.tracks.get("camera").mediaStreamTrack.readyState'), 'ended');
  await enable(page, 'camera', true);
  assert.deepEqual(await run(page, 'test.asked.slice(1)'), [{ type: 'setMuted', track: 1, muted: false }]);
  await forget(page);
  await frames(page, 5);
});

publishes('a seat that is kept goes on with a keyframe, one that is lost is published again', async (page) => {
  await enable(page, 'camera', true, SMALL);
  await enable(page, 'microphone', true);
  await frames(page, 20);
  await run(page, 'void (test.isLost = true, publishing.interrupted())');
  await rests(page);
  await forget(page);
  const announced = 'test.asked.filter(({ type }) => type === "publish").map(({ track }, at) => ({ track: at + 1, info: track, muted: false }))';
  await run(page, `void (test.isLost = false, publishing.seated({ resumed: true, room: 'test', tracks: ${announced} }))`);
  const [kept] = await frames(page, 1, 'header.track === 1 && header.spatialLayer === 1');
  assert.ok(kept.header.keyframe && kept.header.frame > 0);
  await frames(page, 1, 'header.track === 2');

  await run(page, 'void (test.isLost = true, publishing.interrupted())');
  await forget(page);
  await run(page, 'void (test.isLost = false, publishing.seated({ resumed: false, room: "test", tracks: [] }))');
  const again = await frames(page, 20, 'header.track === publishing.tracks.get("camera").id && header.track > 2 && header.spatialLayer === 1');
  assert.equal(again[0].header.frame, 0);
  areWhole(again);
  assert.deepEqual(await run(page, 'test.events.map(({ type }) => type)'), ['localTrackPublished', 'localTrackPublished']);
});

publishes('what is turned on without a session is published by the next', async (page) => {
  await run(page, 'void (test.isLost = true, publishing.interrupted())');
  await enable(page, 'microphone', true);
  assert.deepEqual(await run(page, '[test.asked.length, publishing.tracks.get("microphone").id]'), [0, 0]);
  await run(page, 'void (test.isLost = false, publishing.seated({ resumed: true, room: "test", tracks: [] }))');
  await frames(page, 5);
  assert.deepEqual(await run(page, 'test.events'), [{ type: 'localTrackPublished', source: 'microphone' }]);
});

publishes('leaving lets every device go', async (page) => {
  await enable(page, 'camera', true, SMALL);
  await enable(page, 'microphone', true);
  await frames(page, 5);
  await run(page, 'void (test.devices = [...publishing.tracks.values()].map(({ mediaStreamTrack }) => mediaStreamTrack), publishing.closed())');
  assert.deepEqual(await run(page, 'test.devices.map(({ readyState }) => readyState)'), ['ended', 'ended']);
  assert.deepEqual(await run(page, '[publishing.tracks.size, test.events.slice(2).map(({ type }) => type)]'), [0, ['localTrackUnpublished', 'localTrackUnpublished']]);
});

publishes('a device that is opened while one leaves is let go', async (page) => {
  await run(page, `void ((real) => {
    navigator.mediaDevices.getUserMedia = async (constraints) => {
      test.late = await real(constraints);
      publishing.closed();
      return test.late;
    };
  })(navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices))`);
  assert.equal(await run(page, 'publishing.setEnabled("camera", true).catch(({ code }) => code)'), 'left');
  assert.deepEqual(await run(page, '[publishing.tracks.size, test.asked.length, ...test.late.getTracks().map(({ readyState }) => readyState)]'), [0, 0, 'ended']);
});

publishes('a device that is unplugged is told, and the track is muted until there is another', async (page) => {
  await enable(page, 'camera', true, SMALL);
  await frames(page, 5);
  await run(page, 'void publishing.tracks.get("camera").mediaStreamTrack.dispatchEvent(new Event("ended"))');
  await until(page, 'test.asked.length === 2');
  assert.deepEqual(await run(page, 'test.asked[1]'), { type: 'setMuted', track: 1, muted: true });
  assert.deepEqual((await run(page, 'test.events')).slice(1), [
    { type: 'localTrackMuted', source: 'camera', muted: true, byAdmin: false }, { type: 'mediaFailed', source: 'camera', code: 'device_lost' },
  ]);
  await enable(page, 'camera', true);
  await forget(page);
  await frames(page, 5, 'header.track === 1');
});

publishes('another device takes over without another track', async (page) => {
  await enable(page, 'camera', true, SMALL);
  await frames(page, 5);
  const { ids, used } = await run(page, `navigator.mediaDevices.enumerateDevices().then((all) => ({
    ids: all.filter(({ kind }) => kind === 'videoinput').map(({ deviceId }) => deviceId), used: publishing.activeDevice('videoinput') }))`);
  // The second fake camera gives depth, which nothing encodes.
  const other = ids.findLast((/** @type {string} */ id) => id !== used);
  await run(page, `publishing.switchActiveDevice('videoinput', '${other}')`);
  assert.equal(await run(page, 'publishing.activeDevice("videoinput")'), other);
  await forget(page);
  const sent = await frames(page, 20, 'header.spatialLayer === 1');
  assert.ok(sent.every(({ header }) => header.track === 1));
  assert.equal(await run(page, 'test.asked.length'), 1);
});

publishes('frames that nothing encodes end the track, and the device with it', async (page) => {
  await enable(page, 'camera', true, SMALL);
  await frames(page, 5);
  // The second fake camera gives depth.
  const [, depth] = await run(page, `navigator.mediaDevices.enumerateDevices().then((all) => all.filter(({ kind }) => kind === 'videoinput').map(({ deviceId }) => deviceId))`);
  await run(page, `void (test.camera = publishing.tracks.get('camera'))`);
  await run(page, `publishing.switchActiveDevice('videoinput', '${depth}')`);
  await until(page, 'test.events.some(({ type, code }) => type === "mediaFailed" && code === "codec_failed")');
  assert.deepEqual(await run(page, '[publishing.tracks.size, test.camera.mediaStreamTrack.readyState, test.asked.at(-1).type]'), [0, 'ended', 'unpublish']);
  await enable(page, 'microphone', true);
  await frames(page, 5, 'header.track === 2');
});

publishes('another codec is taken where it is fast enough, announced and encoded', async (page) => {
  // Two small pictures a second are too many for no machine.
  await enable(page, 'camera', true, { width: 320, height: 180, frameRate: 2 });
  const { track: { codec } } = await run(page, 'test.asked[0]');
  assert.equal(codec, 'vp09.00.21.08');
  await frames(page, 3);
  const { given, sizes } = await decode(page, 0, codec);
  assert.deepEqual(sizes, Array(given).fill('320x180'));
}, { options: { video: { codec: 'vp9' } } });

publishes('where frames come from an element, a page that is not looked at says that it is muted', async (page) => {
  await run(page, 'void delete globalThis.MediaStreamTrackProcessor');
  await enable(page, 'camera', true, SMALL);
  await frames(page, 1);
  for (const isHidden of [true, false]) {
    await run(page, `void (Object.defineProperty(document, 'hidden', { value: ${isHidden}, configurable: true }), document.dispatchEvent(new Event('visibilitychange')))`);
    await until(page, `test.asked.at(-1).muted === ${isHidden}`);
    assert.equal(await run(page, 'publishing.tracks.get("camera").muted'), false);
  }
});

publishes('a device that is refused says so, and nothing is published', async (page) => {
  await run(page, 'void (navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", "NotAllowedError"); })');
  assert.equal(await run(page, 'publishing.setEnabled("camera", true).catch(({ code }) => code)'), 'device_denied');
  assert.deepEqual(await run(page, '[publishing.tracks.size, test.asked.length]'), [0, 0]);
});

publishes('a screen is shared in one size, and ends with its device', async (page) => {
  await run(page, 'publishing.setScreenShareEnabled(true).then(() => 0)');
  const sent = await frames(page, 5, 'header.spatialLayer === 0 && header.audioLevel === 127 && header.track === 1');
  areWhole(sent);
  const { track } = await run(page, 'test.asked[0]');
  assert.deepEqual([track.source, track.media.spatialLayers], ['screen', 1]);
  await run(page, 'void publishing.tracks.get("screen").mediaStreamTrack.dispatchEvent(new Event("ended"))');
  await until(page, 'test.asked.some(({ type, track }) => type === "unpublish" && track === 1)');
  assert.equal((await run(page, 'test.events')).some((/** @type {any} */ { type }) => type === 'mediaFailed'), false);
});

publishes('encrypted frames can be read with the key of the link alone', async (page) => {
  await enable(page, 'camera', true, SMALL);
  await frames(page, 10);
  const [read, unread] = await run(page, `import('/sdk/media/encryption.js').then(async ({ FrameCipher }) => {
    const [key, other] = [await FrameCipher.create('AAECAwQFBgcICQoLDA0ODw', 'test'), await FrameCipher.create('AAECAwQFBgcICQoLDA0ODw', 'other')];
    const open = (cipher) => Promise.allSettled(test.frames.slice(0, 10).map(({ header, payload }) => cipher.decrypt(header, payload)));
    return [await open(key), await open(other)].map((all) => all.filter(({ status }) => status === 'fulfilled').length);
  })`);
  assert.deepEqual([read, unread], [10, 0]);
}, { options: { encryptionKey: 'AAECAwQFBgcICQoLDA0ODw' } });

publishes('over WebSocket frames leave whole, and stay behind when it does not keep up', async (page) => {
  await enable(page, 'camera', true, SMALL);
  await enable(page, 'microphone', true);
  await frames(page, 30);
  await run(page, 'void (test.buffered = 46_000)');
  await forget(page);
  await frames(page, 5, 'header.track === 2');
  assert.equal((await frames(page, 1)).some(({ header }) => header.track === 1), false);
  await run(page, 'void (test.buffered = 0)');
  const [first] = await frames(page, 5, 'header.track === 1 && header.spatialLayer === 1');
  assert.ok(first.header.keyframe);
}, { carrier: 'websocket' });

test('a page of another origin publishes with the SDK of the relay', { timeout: 120_000 }, async () => {
  const page = await openPublisher(browser, relay.url, { sdk: relay.url.replace('localhost', '127.0.0.1') });
  await enable(page, 'camera', true, SMALL);
  await enable(page, 'microphone', true);
  await frames(page, 10, 'header.track === 1');
  await frames(page, 10, 'header.track === 2');
  assert.notEqual(new URL(await run(page, 'test.sdk')).origin, new URL(page.url()).origin);
  await page.context().close();
});
