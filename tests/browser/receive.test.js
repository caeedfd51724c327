// The receiving side in a real browser: pictures that the page encodes itself are drawn, tones are heard, and what goes wrong on the
// way stays without consequence or is mended.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { serveFiles } from './files.js';
import { LATE_MS, undisturbed } from './lateness.js';
import { complaints, watch } from './meeting.js';
import { allStarted, startBrowser } from './relay.js';
import { eventually } from './tab.js';

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {typeof import('./publisher.js')} Publisher */

/** How many seconds of a tone are judged, and how many are heard for that at most. */
const HEARD_SECONDS = 3;
const SECONDS_MAX = 12;

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {{ url: string, stop: () => Promise<void> }} */
let files;
/** @type {Page} */
let page;
/** What browsers say when a picture was let go without being closed. @type {string[]} */
const leaks = [];

before(async () => {
  [browser, files] = await allStarted([startBrowser(), serveFiles()]);
});

beforeEach(async () => {
  page = await (await browser.newContext({ viewport: { width: 1000, height: 800 } })).newPage();
  watch(page);
  page.on('console', (message) => { if (/garbage collected/.test(message.text())) leaks.push(message.text()); });
  await page.goto(files.url);
});

afterEach(() => page.context().close());

after(async () => {
  await browser?.close();
  await files?.stop();
  assert.deepEqual([complaints, leaks], [[], []]);
});

/**
 * Runs in the page, with what publishes there.
 * @template R @template A
 * @param {(publisher: Publisher, argument: A) => Promise<R>} act
 * @param {A} [argument]
 * @returns {Promise<R>}
 */
const inPage = (act, argument) => page.evaluate(`import('/tests/browser/publisher.js').then((publisher) => (${act})(publisher, ${JSON.stringify(argument) ?? 'undefined'}))`);

/** What needs its time: done again where the machine held it up. @param {string} name @param {(t: import('node:test').TestContext) => Promise<void>} act */
const receives = (name, act) => test(name, { timeout: 240_000 }, (t) => undisturbed(t, page, () => act(t)));

receives('pictures are drawn as they were sent, at once', async (t) => {
  const { stats, size, state, events } = await inPage(async ({ Stage }) => {
    const stage = new Stage();
    const { track, canvas, camera } = stage.show(640, 360);
    for (let at = 0; at < 4; at++) {
      await stage.film(camera, 10);
      await stage.shows(canvas, 0);
      await stage.film(camera, 20);
      await stage.shows(canvas, 1);
    }
    return { stats: await stage.statsOf(track), size: [track.width, track.height], state: track.state, events: stage.link.events.map(({ type }) => type) };
  });
  t.diagnostic(`capture to drawn: ${JSON.stringify(stats.latencyMs)}`);
  assert.deepEqual([size, state], [[640, 360], 'playing']);
  assert.deepEqual([stats.framesReceived, stats.framesDrawn, stats.framesLeftOut, stats.freezes, stats.decoderFailures], [120, 120, 0, 0, 0]);
  assert.deepEqual(events, ['trackSubscribed', 'trackStateChanged']);
  assert.ok(stats.latencyMs.p50 <= 60 && stats.latencyMs.p95 <= 120, JSON.stringify(stats.latencyMs));
});

receives('datagrams that are mixed up or doubled are harmless', async () => {
  const { stats, strange, told } = await inPage(async ({ Stage }) => {
    const stage = new Stage();
    const { track, canvas, camera } = stage.show(640, 360);
    const watching = stage.watch(canvas);
    /** @type {Uint8Array[]} */
    let held = [];
    await stage.film(camera, 90, (datagrams, { header }) => {
      // Every tenth frame comes after the next one, and everything comes backwards and twice.
      const now = [...datagrams, ...held].reverse().flatMap((datagram) => [datagram, datagram.slice()]);
      held = [];
      if (header.frame % 10 !== 5) return now;
      held = datagrams;
      return [];
    });
    watching.stop();
    return { stats: await stage.statsOf(track), strange: watching.strange, told: stage.link.told.filter(({ type }) => type === 'requestKeyframe') };
  });
  assert.deepEqual([strange, told], [[], []]);
  assert.ok(stats.framesDrawn >= 90 - 9, `${stats.framesDrawn} of 90 frames`);
  assert.deepEqual([stats.lost, stats.decoderFailures], [0, 0]);
});

receives('a lost frame costs a keyframe and no garbage; a lost frame of the upper layer costs itself', async (t) => {
  const result = await inPage(async ({ Stage, pause }) => {
    const stage = new Stage();
    const { track, canvas, camera } = stage.show(640, 360);
    await stage.film(camera, 20);
    const watching = stage.watch(canvas);
    const wishes = () => stage.link.told.filter(({ type }) => type === 'requestKeyframe').length;
    await stage.film(camera, 20, (datagrams, { header }) => (header.temporalLayer > 0 ? [] : datagrams));
    const wishesForUpper = wishes();
    let [isLost, lostAtMs, keyframeAtMs] = [false, 0, 0];
    await stage.film(camera, 40, (datagrams, { header }) => {
      if (header.keyframe) keyframeAtMs = performance.now();
      if (isLost || header.temporalLayer > 0) return datagrams;
      isLost = true;
      lostAtMs = performance.now();
      return datagrams.slice(1);
    });
    await pause(100);
    watching.stop();
    return { stats: await stage.statsOf(track), strange: watching.strange, wishesForUpper, wishes: wishes(), recoveredMs: keyframeAtMs - lostAtMs, state: track.state };
  });
  t.diagnostic(`a keyframe ${Math.round(result.recoveredMs)} ms after the loss`);
  assert.deepEqual([result.strange, result.wishesForUpper, result.wishes, result.stats.decoderFailures], [[], 0, 1, 0]);
  assert.ok(result.recoveredMs > 0 && result.recoveredMs < 400, `${result.recoveredMs} ms`);
  assert.ok(result.stats.framesDrawn >= 80 - 10 - 15, `${result.stats.framesDrawn} frames`);
});

receives('when nothing can be decoded, keyframes are wished for every 300 ms', async () => {
  const { wishes, tookMs } = await inPage(async ({ Stage }) => {
    const stage = new Stage();
    const { camera } = stage.show(320, 180);
    let firstMs = NaN;
    stage.link.wished = () => { firstMs ||= performance.now(); };
    await stage.film(camera, 60, (datagrams, { header }) => (header.keyframe ? [] : datagrams));
    return { wishes: stage.link.told.filter(({ type }) => type === 'requestKeyframe'), tookMs: performance.now() - firstMs };
  });
  // Each is told at the first look after 300 ms, which there is at every picture.
  const [least, most] = [tookMs / 360, 1 + tookMs / 300];
  assert.ok(wishes.length >= least && wishes.length <= most, `${wishes.length} wishes, ${Math.round(tookMs)} ms from the first one on`);
  assert.deepEqual(wishes[0], { type: 'requestKeyframe', track: 3, spatialLayer: 0 });
});

receives('garbage, datagrams of nobody and of others change nothing', async () => {
  const { stats, all, strange } = await inPage(async ({ Stage, datagramsOf, headerOf }) => {
    const stage = new Stage();
    const { track, canvas, camera } = stage.show(320, 180);
    const watching = stage.watch(canvas);
    const random = (/** @type {number} */ length) => crypto.getRandomValues(new Uint8Array(length));
    await stage.film(camera, 60, (datagrams) => [
      new Uint8Array(0), random(1), random(20), random(500), random(1500), new Uint8Array(1000), datagrams[0].subarray(0, 15),
      ...datagramsOf({ header: headerOf({ track: 99, keyframe: true }), payload: random(3000) }), ...datagrams,
    ]);
    watching.stop();
    return { stats: await stage.statsOf(track), all: stage.subscribing.stats(), strange: watching.strange };
  });
  assert.deepEqual([stats.framesDrawn, stats.decoderFailures, strange], [60, 0, []]);
  assert.ok(all.malformed >= 60 * 5 && all.unknown >= 60 * 4, JSON.stringify([all.malformed, all.unknown]));
});

receives('a decoder that fails is replaced; one that fails again and again is told, and the others go on', async () => {
  const result = await inPage(async ({ Stage, Camera, datagramsOf, headerOf }) => {
    const stage = new Stage();
    const { track, camera } = stage.show(320, 180);
    await stage.film(camera, 10);
    const spoil = (/** @type {number} */ frame) => {
      const header = headerOf({ track: 3, frame, keyframe: true });
      for (const datagram of datagramsOf({ header, payload: crypto.getRandomValues(new Uint8Array(2000)) })) stage.subscribing.media(datagram);
    };
    spoil(1000);
    await stage.until(() => stage.link.told.some(({ type }) => type === 'requestKeyframe'));
    await stage.film(camera, 20);
    // It may have stood still for a second meanwhile, and tells that it goes on a moment after it does.
    await stage.until(() => track.state === 'playing');
    const afterOne = await stage.statsOf(track);
    const other = stage.publish(4, track.info);
    other.attach(stage.tile(320, 180));
    for (const frame of [2000, 2001]) {
      await stage.film(camera, 5);
      spoil(frame);
    }
    await stage.until(() => track.state === 'failed');
    const healthy = new Camera(4, 320, 180);
    await stage.film(healthy, 20);
    const otherState = other.state;
    const [failure] = stage.link.of('mediaFailed');
    return { afterOne, failure: [failure.source, failure.error.code, failure.track.id], drawn: (await stage.statsOf(other)).framesDrawn, otherState };
  });
  assert.equal(result.afterOne.decoderFailures, 1);
  assert.ok(result.afterOne.framesDrawn >= 25, `${result.afterOne.framesDrawn} frames`);
  assert.deepEqual([result.failure, result.otherState, result.drawn], [['camera', 'codec_failed', 3], 'playing', 20]);
});

test('a codec that the browser does not know is told', { timeout: 60_000 }, async () => {
  const [state, code] = await inPage(async ({ Stage, videoInfo }) => {
    const stage = new Stage();
    const track = stage.publish(3, videoInfo(320, 180, { codec: 'zz99' }));
    await stage.until(() => track.state === 'failed');
    return [track.state, stage.link.of('mediaFailed')[0].error.code];
  });
  assert.deepEqual([state, code], ['failed', 'codec_unsupported']);
});

receives('what came before its track was announced is drawn', async () => {
  const drawn = await inPage(async ({ Stage, Camera, videoInfo }) => {
    const stage = new Stage();
    // The worker runs: someone else is there already.
    stage.publish(9, videoInfo(320, 180));
    const camera = new Camera(3, 320, 180);
    await stage.film(camera, 5);
    const track = stage.publish(3, videoInfo(320, 180));
    track.attach(stage.tile(320, 180));
    await stage.film(camera, 10);
    return { stats: await stage.statsOf(track), wishes: stage.link.told.filter(({ type, track }) => type === 'requestKeyframe' && track === 3).length };
  });
  assert.deepEqual([drawn.stats.framesDrawn, drawn.wishes], [15, 0]);
});

receives('the drawing follows the tile, and what nobody sees is not taken', async () => {
  const result = await inPage(async ({ Stage, Camera, videoInfo, pause }) => {
    const stage = new Stage();
    const track = stage.publish(3, videoInfo(1280, 720, { spatialLayers: 3 }));
    const tile = stage.tile(640, 360);
    const canvas = /** @type {HTMLCanvasElement} */ (track.attach(tile));
    const camera = new Camera(3, 640, 360, 1);
    await stage.film(camera, 10);
    await stage.until(() => canvas.width === 640);
    tile.style.width = '320px';
    tile.style.height = '180px';
    await stage.film(camera, 10);
    await stage.until(() => canvas.width === 320);
    const small = stage.link.asked.splice(0);
    tile.style.display = 'none';
    const hiddenMs = await stage.until(() => stage.link.asked.length > 0);
    const hidden = stage.link.asked.splice(0);
    tile.style.display = 'block';
    await stage.until(() => stage.link.asked.length > 1);
    const seen = stage.link.asked.splice(0);
    track.detach();
    await stage.until(() => stage.link.asked.length > 0);
    const detached = stage.link.asked.splice(0);
    track.attach(stage.tile(1280, 720));
    await stage.until(() => stage.link.asked.length > 1);
    await pause(200);
    const large = stage.link.asked.splice(0);
    track.setSubscribed(false);
    track.setSubscribed(true);
    const wanted = stage.link.asked.splice(0).map(({ type }) => type);
    return { small, hidden, hiddenMs, seen, detached, large, wanted, canvases: tile.childElementCount, told: stage.link.events.map(({ type }) => type) };
  });
  assert.deepEqual(result.small.at(-1), { type: 'setLayers', track: 3, spatialLayer: 0, temporalLayer: 1 });
  assert.deepEqual(result.hidden, [{ type: 'unsubscribe', track: 3 }]);
  assert.ok(result.hiddenMs > 2500 && result.hiddenMs < 4000, `${result.hiddenMs} ms`);
  assert.deepEqual(result.seen, [{ type: 'subscribe', track: 3 }, { type: 'setLayers', track: 3, spatialLayer: 0, temporalLayer: 1 }]);
  assert.deepEqual([result.detached, result.canvases], [[{ type: 'unsubscribe', track: 3 }], 0]);
  assert.deepEqual(result.large.at(-1), { type: 'setLayers', track: 3, spatialLayer: 2, temporalLayer: 1 });
  assert.deepEqual(result.wanted, ['unsubscribe', 'subscribe', 'setLayers']);
  assert.deepEqual(result.told.filter((type) => type !== 'trackStateChanged'), ['trackSubscribed', 'trackUnsubscribed', 'trackSubscribed']);
});

receives('a picture that is cut off at two sides is taken as large as the others need it', async () => {
  const chosen = await inPage(async ({ Stage, videoInfo }) => {
    const stage = new Stage();
    const track = stage.publish(3, videoInfo(1280, 720, { spatialLayers: 3 }));
    const tile = stage.tile(180, 400);
    track.attach(tile);
    const chosen = () => stage.link.asked.findLast(({ type }) => type === 'setLayers');
    await stage.until(() => chosen()?.spatialLayer === 0);
    const contained = chosen();
    tile.style.setProperty('--picture-fit', 'cover');
    await stage.until(() => chosen() !== contained);
    return chosen();
  });
  assert.deepEqual(chosen, { type: 'setLayers', track: 3, spatialLayer: 1, temporalLayer: 1 });
});

receives('the rendition changes at a keyframe, and nothing strange is seen', async () => {
  const { strange, width, failures } = await inPage(async ({ Stage, Camera, videoInfo }) => {
    const stage = new Stage();
    const track = stage.publish(3, videoInfo(640, 360, { spatialLayers: 2 }));
    const canvas = /** @type {HTMLCanvasElement} */ (track.attach(stage.tile(640, 360)));
    const watching = stage.watch(canvas);
    const [low, high] = [new Camera(3, 320, 180, 0), new Camera(3, 640, 360, 1)];
    const becomes = (/** @type {number} */ width) => stage.until(() => track.width === width);
    await stage.film(low, 15);
    await becomes(320);
    // Nothing of the other rendition can be decoded before its keyframe.
    await high.capture([0, 0, 0]);
    await stage.film(high, 3);
    const { width } = track;
    high.isKeyframeWished = true;
    await stage.film(high, 15);
    await becomes(640);
    low.isKeyframeWished = true;
    await stage.film(low, 15);
    await becomes(320);
    watching.stop();
    return { strange: watching.strange, width, failures: (await stage.statsOf(track)).decoderFailures };
  });
  assert.deepEqual([strange, width, failures], [[], 320, 0]);
});

receives('a break keeps the last picture, and says so', async () => {
  const result = await inPage(async ({ Stage, colourOf, nameOf }) => {
    const stage = new Stage();
    const { track, canvas, camera } = stage.show(320, 180);
    await stage.film(camera, 20);
    await stage.shows(canvas, 1);
    stage.subscribing.interrupted();
    await stage.until(() => track.state === 'stalled');
    const [colour, wishes] = [nameOf(colourOf(canvas)), stage.link.told.filter(({ type }) => type === 'requestKeyframe').length];
    stage.link.asked = [];
    stage.subscribing.seated({ room: 'stage' });
    await stage.film(camera, 20);
    await stage.until(() => track.state === 'playing');
    track.muted = true;
    stage.subscribing.muted(track);
    await stage.until(() => track.state === 'waiting');
    return { colour, wishes, asked: stage.link.asked };
  });
  assert.deepEqual([result.colour, result.wishes], [1, 0]);
  assert.deepEqual(result.asked, [{ type: 'subscribe', track: 3 }, { type: 'setLayers', track: 3, spatialLayer: 0, temporalLayer: 1 }]);
});

receives('who has the key sees, and who has another is told once', async () => {
  const result = await inPage(async ({ Stage, FrameCipher, newSecret, datagramsOf, pause }) => {
    const secret = newSecret();
    const cipher = await FrameCipher.create(secret, 'stage');
    const see = async (/** @type {string} */ encryptionKey) => {
      const stage = new Stage({ encryptionKey });
      const { track, camera } = stage.show(320, 180);
      await stage.film(camera, 30, async (_, frame) => datagramsOf({ ...frame, payload: await cipher.encrypt(frame.header, frame.payload) }));
      await pause(100);
      const wishes = stage.link.told.filter(({ type }) => type === 'requestKeyframe').length;
      return { drawn: (await stage.statsOf(track)).framesDrawn, wishes, failed: stage.link.of('encryptionFailed').map(({ participant }) => participant.id), media: stage.link.of('mediaFailed') };
    };
    return [await see(secret), await see(newSecret())];
  });
  assert.deepEqual(result, [{ drawn: 30, wishes: 0, failed: [], media: [] }, { drawn: 0, wishes: 0, failed: [7], media: [] }]);
});

receives('a tone is heard without a gap, and conceals what is lost', async (t) => {
  const result = await inPage(async ({ Stage, Microphone, Ear, audioContext, audioInfo }, { heardSeconds, secondsMax, late }) => {
    const { lateness } = /** @type {{ lateness: import('./lateness.js').Lateness }} */ (/** @type {any} */ (globalThis));
    const stage = new Stage();
    const ear = new Ear(audioContext());
    const track = stage.publish(4, audioInfo());
    const microphone = new Microphone(4);
    await stage.speak(microphone, 2500);
    const begun = track.stats();
    const seconds = /** @type {{ isLate: boolean, gaps: { loudness: number, silenceMs: number }[] }[]} */ ([]);
    // One that has a gap while something is late says nothing.
    const judged = () => seconds.filter(({ isLate, gaps }) => !isLate || gaps.length === 0);
    while (judged().length < heardSeconds && seconds.length < secondsMax) {
      // What is late is heard later.
      const sinceMs = performance.now() - 500;
      const heard = await ear.during(stage.speak(microphone, 1000));
      const gaps = heard.filter(({ loudness, silenceMs }) => loudness <= 0.2 || loudness >= 0.36 || silenceMs >= 2);
      seconds.push({ isLate: lateness.worstMs(sinceMs) >= late, gaps });
    }
    const good = track.stats();
    let frames = 0;
    await stage.speak(microphone, 2000, (datagrams) => (++frames % 20 === 0 ? [] : datagrams));
    const lossy = track.stats();
    const { level, state } = track;
    track.setVolume(0);
    await stage.speak(microphone, 400);
    const silent = ear.listen().loudness;
    const speakers = stage.link.of('activeSpeakers').map(({ participants }) => participants.map((/** @type {{ id: number }} */ { id }) => id));
    return { begun, good, lossy, judged: judged(), passedOver: seconds.length - judged().length, level, state, silent, speakers, events: stage.link.events.map(({ type }) => type) };
  }, { heardSeconds: HEARD_SECONDS, secondsMax: SECONDS_MAX, late: LATE_MS });
  t.diagnostic(`${result.passedOver} seconds passed over, played ${result.good.samplesPlayed}, concealed ${result.good.samplesConcealed - result.begun.samplesConcealed}, stretched ${result.good.samplesStretched}, underruns ${result.good.underruns}, buffer ${result.good.bufferedMs} of ${result.good.targetMs} ms, mouth to ear ${JSON.stringify(result.good.latencyMs)} ms`);
  assert.equal(result.state, 'playing');
  assert.deepEqual(result.judged.map(({ gaps }) => gaps), Array(HEARD_SECONDS).fill([]));
  const concealedMs = (result.good.samplesConcealed - result.begun.samplesConcealed) / 48;
  assert.ok(concealedMs < 20 * HEARD_SECONDS + 1000 * result.passedOver, `${concealedMs} ms concealed, less than 2 % should be`);
  assert.ok(result.lossy.samplesConcealed - result.good.samplesConcealed > 48 * 20 * 3, 'what was lost was concealed');
  assert.ok(result.silent < 0.01, `${result.silent}`);
  assert.ok(result.level > 0.8 && result.level < 0.9, `${result.level}`);
  assert.deepEqual(result.speakers[0], [7]);
  assert.ok(!result.events.includes('audioBlocked'));
});

receives('oneself is among the speakers', async () => {
  const speakers = await inPage(async ({ Stage, pause }) => {
    const stage = new Stage();
    for (let at = 0; at < 6; at++) {
      stage.subscribing.setOwnLevel(0.7);
      await pause(50);
    }
    return stage.link.of('activeSpeakers').map(({ participants }) => participants.map((/** @type {{ id: number }} */ { id }) => id));
  });
  assert.deepEqual(speakers, [[1]]);
});

test('afterwards nothing is left: no worker, no canvas, no track', { timeout: 90_000 }, async () => {
  const before = page.workers().length;
  const left = await inPage(async ({ Stage, Microphone, audioInfo }) => {
    const stage = new Stage();
    const { track, camera } = stage.show(320, 180);
    const [audio, other] = [stage.publish(4, audioInfo(2)), stage.publish(6, audioInfo(1))];
    await Promise.all([stage.film(camera, 20), stage.speak(new Microphone(4, 2), 600), stage.speak(new Microphone(6), 600)]);
    await stage.until(() => [track, audio, other].every(({ state }) => state === 'playing'));
    stage.subscribing.unpublished(audio);
    track.detach();
    const canvases = document.querySelectorAll('canvas').length;
    stage.subscribing.closed();
    await stage.film(camera, 2);
    // And again, as after a second `connect`.
    const again = stage.show(320, 180, 5);
    await stage.film(again.camera, 20);
    await stage.until(() => again.track.state === 'playing');
    stage.subscribing.closed();
    return { canvases, tracks: stage.subscribing.stats().tracks.length };
  });
  assert.deepEqual(left, { canvases: 0, tracks: 0 });
  assert.equal(before, 0);
  await eventually('no worker', async () => page.workers().length, (count) => count === 0);
});

receives('a canvas of the page can be used for one track after the other, and not once it was drawn on', async () => {
  const result = await inPage(async ({ Stage, Camera, videoInfo }) => {
    const stage = new Stage();
    const canvas = document.body.appendChild(document.createElement('canvas'));
    for (const [id, colour] of [[3, 0], [4, 1]]) {
      const track = stage.publish(id, videoInfo(320, 180));
      track.attach(canvas);
      await stage.film(new Camera(id, 320, 180), 10 * (colour + 1));
      await stage.shows(canvas, colour);
      track.detach(canvas);
    }
    const own = document.createElement('canvas');
    own.getContext('2d');
    const track = stage.publish(5, videoInfo(320, 180));
    const codes = [own, document.createElement('video')].map((element) => {
      try {
        track.attach(element);
        return 'attached';
      } catch (error) {
        return /** @type {any} */ (error).code;
      }
    });
    return { codes, kept: canvas.isConnected };
  });
  assert.deepEqual(result, { codes: ['canvas_used', 'element_unsuitable'], kept: true });
});
