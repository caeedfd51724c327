// What a page plays, measured in front of its loudspeaker.

/** @typedef {import('./tab.js').Tab} Tab */

/** A fake microphone beeps once a second (Chromium) or hums (Firefox): louder than this, of 1. */
export const LOUD = 0.01;

/** To be run before anything in a page plays: keeps what goes to the loudspeaker in hand. */
export function tapLoudspeaker() {
  const taps = /** @type {AnalyserNode[]} */ ([]);
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = /** @this {AudioNode} */ function (/** @type {any} */ ...places) {
    if (places[0] instanceof AudioDestinationNode) {
      const tap = new AnalyserNode(this.context, { fftSize: 2048 });
      connect.call(this, /** @type {any} */ (tap));
      taps.push(tap);
    }
    return /** @type {any} */ (connect.apply(this, /** @type {any} */ (places)));
  };
  Object.assign(window, { taps });
}

/**
 * Listens for a while.
 * @param {Tab} tab
 * @param {number} ms
 * @returns {Promise<{ loudest: number, share: number, starts: number }>} the highest peak, the share of looks that were loud, and how often it became loud
 */
export const listen = (tab, ms) => tab.evaluate(async ({ ms, loud }) => {
  const taps = /** @type {AnalyserNode[]} */ (/** @type {any} */ (window).taps);
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
