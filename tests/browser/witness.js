// What a page plays and which devices it holds, seen from before its first script.

/** @typedef {import('./tab.js').Tab} Tab */

/** A fake microphone beeps twice a second (Chromium) or hums (Firefox): louder than this, of 1. */
const LOUD = 0.01;

/** Runs in a page before anything else: keeps what goes to the loudspeaker in hand, and what devices give. */
export function witness() {
  const taps = /** @type {AnalyserNode[]} */ ([]);
  const tracks = /** @type {MediaStreamTrack[]} */ ([]);
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = /** @this {AudioNode} */ function (/** @type {any} */ ...places) {
    if (places[0] instanceof AudioDestinationNode) {
      const tap = new AnalyserNode(this.context, { fftSize: 2048 });
      connect.call(this, /** @type {any} */ (tap));
      taps.push(tap);
    }
    return /** @type {any} */ (connect.apply(this, /** @type {any} */ (places)));
  };
  for (const ask of /** @type {const} */ (['getUserMedia', 'getDisplayMedia'])) {
    const given = navigator.mediaDevices?.[ask];
    if (given) navigator.mediaDevices[ask] = async (options) => {
      const stream = await given.call(navigator.mediaDevices, options);
      tracks.push(...stream.getTracks());
      return stream;
    };
  }
  Object.assign(window, { witness: { taps, tracks } });
}

/**
 * Listens for a while.
 * @param {Tab} tab
 * @param {number} ms
 * @returns {Promise<{ loudest: number, share: number, starts: number }>} the highest peak, of 1; of all looks, how many were loud; how often it became loud
 */
export const listen = (tab, ms) => tab.evaluate(async ({ ms, loud }) => {
  const { taps } = /** @type {{ taps: AnalyserNode[] }} */ (/** @type {any} */ (window).witness);
  const samples = new Float32Array(2048);
  const end = performance.now() + ms;
  let [loudest, looks, louds, starts, wasLoud] = [0, 0, 0, 0, true];
  while (performance.now() < end) {
    let peak = 0;
    for (const tap of taps) {
      tap.getFloatTimeDomainData(samples);
      for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
    }
    loudest = Math.max(loudest, peak);
    looks++;
    if (peak > loud) louds++;
    if (peak > loud && !wasLoud) starts++;
    wasLoud = peak > loud;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { loudest, share: louds / looks, starts };
}, { ms, loud: LOUD });

/** Whether what plays runs, and what devices give. @param {Tab} tab */
export const output = (tab) => tab.evaluate(() => {
  const { taps, tracks } = /** @type {{ taps: AnalyserNode[], tracks: MediaStreamTrack[] }} */ (/** @type {any} */ (window).witness);
  return {
    taps: taps.map(({ context: { state, currentTime } }) => ({ state, currentTime })),
    tracks: tracks.map(({ kind, readyState, muted }) => ({ kind, readyState, muted })),
  };
}, null);

/** The longest time without a sound while one listens, in milliseconds. @param {Tab} tab @param {number} ms @returns {Promise<number>} */
export const longestPause = (tab, ms) => tab.evaluate(async ({ ms, loud }) => {
  const { taps } = /** @type {{ taps: AnalyserNode[] }} */ (/** @type {any} */ (window).witness);
  const samples = new Float32Array(2048);
  let last = performance.now();
  let longest = 0;
  for (const end = last + ms; performance.now() < end; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const isLoud = taps.some((tap) => {
      tap.getFloatTimeDomainData(samples);
      return samples.some((sample) => Math.abs(sample) > loud);
    });
    longest = Math.max(longest, performance.now() - last);
    if (isLoud) last = performance.now();
  }
  return longest;
}, { ms, loud: LOUD });

/** Whether nothing is heard. @param {{ loudest: number }} heard */
export const isQuiet = ({ loudest }) => loudest <= LOUD;

/** The names of the devices that a page holds, with those of its tracks that are heard or seen nowhere. @param {Tab} tab @returns {Promise<string[]>} */
export const heldDevices = (tab) => tab.evaluate(() => {
  const { tracks } = /** @type {{ tracks: MediaStreamTrack[] }} */ (/** @type {any} */ (window).witness);
  return [...new Set(tracks.filter(({ readyState }) => readyState === 'live').map(({ label }) => label))];
}, null);

/** What the cameras, or the microphones, that a page holds are set to. @param {Tab} tab @param {'audio' | 'video'} kind @returns {Promise<MediaTrackSettings[]>} */
export const settingsOf = (tab, kind) => tab.evaluate((kind) => {
  const { tracks } = /** @type {{ tracks: MediaStreamTrack[] }} */ (/** @type {any} */ (window).witness);
  return tracks.filter((track) => track.kind === kind && track.readyState === 'live').map((track) => track.getSettings());
}, kind);

/** Of all that a page has played with. @param {Tab} tab @returns {Promise<AudioContextState[]>} */
export const soundStates = (tab) => tab.evaluate(() => {
  const { taps } = /** @type {{ taps: AnalyserNode[] }} */ (/** @type {any} */ (window).witness);
  return taps.map(({ context }) => context.state);
}, null);

/** Takes a device away, as when its plug is pulled. @param {Tab} tab @param {'audio' | 'video'} kind */
export const unplug = (tab, kind) => tab.evaluate((kind) => {
  const { tracks } = /** @type {{ tracks: MediaStreamTrack[] }} */ (/** @type {any} */ (window).witness);
  for (const track of tracks.filter((track) => track.kind === kind && track.readyState === 'live')) {
    track.stop();
    // A page that stops a track itself is not told; of a plug it is.
    track.dispatchEvent(new Event('ended'));
  }
}, kind);
