// The way of pictures from one's camera to another's screen: how many got how far, so that what is missing has a place.
import { diagnostics, shows, turn } from './guest.js';
import { eventually } from './tab.js';

/** @typedef {import('./tab.js').Tab} Tab */
/** @typedef {any} Figures what `diagnostics` gives */

/**
 * Frames, of those of the stage before.
 * @typedef {object} Way
 * @property {number} captured by the camera
 * @property {number} unwanted of them: nobody was to see them
 * @property {number} dropped of them: the encoder was busy
 * @property {number} thinned of them: fewer a second were to be sent
 * @property {number} encoded what else is missing the encoder left out to keep its bitrate
 * @property {number} sent
 * @property {number} received whole
 * @property {number} decoded
 * @property {number} drawn
 */

/** Whether a figure is of one's own track, or of the one that comes. @param {boolean} own @returns {(track: any) => boolean} */
const isOwn = (own) => (track) => (track.participant === undefined) === own;

/** What a page says of a track. @param {Figures} figures @param {string} source @param {boolean} own */
export function trackOf({ last }, source, own) {
  const found = last.tracks.filter(isOwn(own)).filter((/** @type {any} */ track) => track.source === source);
  if (found.length !== 1) throw new Error(`not one ${own ? 'own ' : ''}${source} in ${JSON.stringify(last.tracks)}`);
  return found[0];
}

/** @param {Figures} before @param {Figures} after @param {string} source @param {boolean} own @param {string} figure */
export function difference(before, after, source, own, figure) {
  const [one = 0, other] = [before, after].map((figures) => trackOf(figures, source, own)[figure]);
  if (!Number.isFinite(other)) throw new Error(`${figure} of ${source}: ${one}, ${other}`);
  return other - one;
}

/**
 * Two people switch their cameras off, and what was on its way has come: figures of both sides can be compared. They are told once a
 * second, so that those of a second in which nothing came are the last ones.
 * @param {[Tab, Tab]} tabs @param {string[]} names
 * @returns {Promise<Figures[]>}
 */
export async function settled(tabs, names) {
  await Promise.all(tabs.map((tab) => turn(tab, 'camera', false)));
  await Promise.all(tabs.map((tab, at) => shows(tab, names[1 - at], { picture: 'off' })));
  const isAtRest = (/** @type {Figures} */ figures) => [true, false].every((own) => trackOf(figures, 'camera', own).bitrate === 0);
  return Promise.all(tabs.map((tab) => eventually(`cameras at rest in ${tab.kind}`, () => diagnostics(tab), isAtRest)));
}

/** The same, and on again: what follows can be counted from there. @param {[Tab, Tab]} tabs @param {string[]} names @returns {Promise<Figures[]>} */
export async function fromRest(tabs, names) {
  const figures = await settled(tabs, names);
  await Promise.all(tabs.map((tab) => turn(tab, 'camera', true)));
  await Promise.all(tabs.map((tab, at) => shows(tab, names[1 - at], { picture: 'on' })));
  return figures;
}

/** @param {{ from: Figures, to: Figures } | null} before figures of both sides; `null`: from the beginning @param {{ from: Figures, to: Figures }} after @returns {Way} */
export function wayOf(before, after) {
  const there = (/** @type {string} */ figure) => (before ? difference(before.from, after.from, 'camera', true, figure) : trackOf(after.from, 'camera', true)[figure]);
  const here = (/** @type {string} */ figure) => (before ? difference(before.to, after.to, 'camera', false, figure) : trackOf(after.to, 'camera', false)[figure]);
  return {
    captured: there('captured'), unwanted: there('unwanted'), dropped: there('dropped'), thinned: there('thinned'), encoded: there('encoded'),
    sent: there('framesSent') - there('framesLeftOut'), received: here('framesReceived'), decoded: here('framesDecoded'), drawn: here('framesDrawn'),
  };
}

/** Samples of the other's microphone. @param {Figures} before @param {Figures} after */
export function soundOf(before, after) {
  const [played, concealed, silent] = ['samplesPlayed', 'samplesConcealed', 'samplesSilent'].map((figure) => difference(before, after, 'microphone', false, figure));
  return { played, concealed, silent };
}

/**
 * Figures before and after a while in which sound was whole, or of the last one that was counted: a machine that holds pages up for half a
 * second holds them up once, not each time.
 * @param {import('node:test').TestContext} t
 * @param {[Tab, Tab]} tabs
 * @param {object} how
 * @param {() => Promise<Figures[]>} how.begin gives the figures before
 * @param {number} how.ms the while
 * @param {number} how.timesMax
 * @param {(sound: ReturnType<typeof soundOf>) => boolean} how.isWhole
 */
export async function counted(t, tabs, { begin, ms, timesMax, isWhole }) {
  for (let times = 1; ; times++) {
    const before = await begin();
    await new Promise((resolve) => setTimeout(resolve, ms));
    const during = await Promise.all(tabs.map(diagnostics));
    const sounds = before.map((figures, at) => soundOf(figures, during[at]));
    if (times === timesMax || sounds.every(isWhole)) return { before, during };
    t.diagnostic(`counted once more: ${JSON.stringify(sounds)}`);
  }
}

/** @param {Way} way */
export const inWords = ({ captured, unwanted, dropped, thinned, encoded, sent, received, decoded, drawn }) =>
  `${captured} captured (${unwanted} unwanted, ${dropped} dropped, ${thinned} thinned), ${encoded} encoded, ${sent} sent, ${received} received, ${decoded} decoded, ${drawn} drawn`;
