/** How the connection does: plots of the last minutes, a table of the tracks, and a text to send to whoever can help. */
import { Room } from '../sdk/tertulia.js';
import { reasonInWords } from './connection.js';
import { button, element, find } from './element.js';
import { bits, milliseconds, share } from './figures.js';
import { Plot } from './plot.js';
import { toast } from './toasts.js';

/** @typedef {import('../sdk/tertulia.js').RoomStatistics} RoomStatistics */
/** @typedef {RoomStatistics['tracks'][number]} TrackStatistics */

/** How far back the plots go: as many figures as seconds. */
const SECONDS = 180;

/** @type {readonly { kind: import('./plot.js').Kind, of: (statistics: RoomStatistics) => (number | null)[] }[]} */
const PLOTS = [
  { kind: { title: 'Round trip', lines: ['there and back'], format: milliseconds, least: 50 }, of: ({ roundTripMs }) => [roundTripMs] },
  { kind: { title: 'Lost', lines: ['in', 'out'], format: share, least: 0.02 }, of: ({ lossIn, lossOut }) => [lossIn, lossOut] },
  { kind: { title: 'Bitrate', lines: ['in', 'out'], format: bits, least: 100_000 }, of: ({ bitrateIn, bitrateOut }) => [bitrateIn, bitrateOut] },
  { kind: { title: 'Sound that waits to be played', lines: ['waiting'], format: milliseconds, least: 100 }, of: ({ tracks }) => [longestBuffer(tracks)] },
];

/** @param {Room} room */
export function showStatistics(room) {
  const panel = find('statistics-panel', HTMLElement);
  const how = element('p', 'how');
  const relay = element('p', 'how');
  relay.dataset.testid = 'relay-figures';
  const plots = PLOTS.map(({ kind, of }) => ({ of, plot: new Plot(kind, SECONDS), series: kind.lines.map(() => /** @type {(number | null)[]} */ ([])) }));
  const rows = element('tbody', '');
  const heads = ['Track', 'Picture', 'Bitrate', 'Lost'].map((name) => {
    const head = element('th', '', name);
    head.scope = 'col';
    return head;
  });
  const table = element('table', '', element('caption', '', 'Tracks'), element('thead', '', element('tr', '', ...heads)), rows);
  const scroll = element('div', 'scroll', table);
  Object.assign(scroll, { tabIndex: 0, role: 'region', ariaLabel: 'Tracks' });
  const copy = button('quiet wide', 'Copy diagnostics');
  copy.dataset.testid = 'copy-diagnostics';
  const text = element('textarea', 'diagnostics');
  text.readOnly = text.hidden = true;
  text.ariaLabel = 'Diagnostics';
  panel.replaceChildren(how, relay, ...plots.map(({ plot }) => plot.node), scroll, copy, text);
  /** @type {RoomStatistics | null} */
  let last = null;
  /** By their ids. @type {Map<number, TrackStatistics>} */
  let before = new Map();
  const draw = () => {
    how.textContent = last ? reasonInWords(last.carrier, last.carrierReason) : 'Figures come once a second.';
    relay.textContent = last?.relay ? relayInWords(last.relay) : '';
    for (const { plot, series } of plots) plot.draw(series);
    rows.replaceChildren(...(last?.tracks ?? []).map((track) => rowOf(room, track, before.get(track.track))));
  };
  room.on('statistics', (statistics) => {
    before = new Map((last?.tracks ?? []).map((track) => [track.track, track]));
    last = statistics;
    for (const { of, series } of plots) {
      for (const [at, value] of of(statistics).entries()) {
        series[at].push(value);
        if (series[at].length > SECONDS) series[at].shift();
      }
    }
    if (panel.hidden) return;
    draw();
    // The next figures have it. While there is no session, nobody answers.
    room.measurements().catch(() => {});
  });
  copy.onclick = async () => {
    const report = JSON.stringify(await diagnostics(room, last, plots.map(({ series }) => series)), null, 2);
    const copied = await navigator.clipboard?.writeText(report).then(() => true, () => false);
    if (copied) return toast('Diagnostics copied. They hold no names, no chat and no keys.');
    text.hidden = false;
    text.value = report;
    text.select();
  };
  draw();
  return draw;
}

/** What the relay sees of the connection. @param {NonNullable<RoomStatistics['relay']>} relay */
function relayInWords({ roundTripUs, bandwidthBps, packetsSent, packetsLost, received, missing, leftOut }) {
  const lost = (/** @type {number} */ part, /** @type {number} */ all) => share(all > 0 ? part / all : 0);
  const left = leftOut.reduce((sum, { datagrams }) => sum + datagrams, 0);
  const parts = [
    roundTripUs > 0 && `${milliseconds(roundTripUs / 1000)} there and back`,
    bandwidthBps > 0 && `up to ${bits(bandwidthBps)}`,
    `lost ${lost(packetsLost, packetsSent)} to you, ${lost(missing, received + missing)} from you`,
    left > 0 && `${left} left out`,
  ];
  return `The relay sees: ${parts.filter(Boolean).join(' · ')}`;
}

/** @param {Room} room @param {TrackStatistics} track @param {TrackStatistics | undefined} before a second ago */
function rowOf(room, track, before) {
  const { width, height, frameRate, loss } = figuresOf(track, before);
  const participant = track.participant === undefined ? null : room.remoteParticipants.get(track.participant);
  const name = track.participant === undefined ? 'You' : participant?.name ?? 'Someone';
  const codec = track.codec ?? participant?.tracks.get(track.track)?.info.codec;
  const head = element('th', '', name, element('small', '', [sourceInWords(track.source), codec].filter(Boolean).join(' · ')));
  head.scope = 'row';
  const picture = height > 0 ? `${width}×${height} · ${Math.round(frameRate)}/s` : '';
  const cells = [picture, bits(track.bitrate), loss === null ? '' : share(loss)].map((cell) => element('td', '', cell));
  const row = element('tr', '', head, ...cells);
  row.dataset.testid = 'track-row';
  return row;
}

/** @param {TrackStatistics} track @param {TrackStatistics | undefined} before */
function figuresOf({ width = 0, height = 0, frameRate, framesDrawn, received, lost, renditions }, before) {
  const largest = renditions?.toSorted((one, other) => (other.width ?? 0) - (one.width ?? 0))[0];
  const sum = (received ?? 0) + (lost ?? 0);
  return {
    width: largest?.width ?? width,
    height: largest?.height ?? height,
    frameRate: frameRate ?? (framesDrawn ?? 0) - (before?.framesDrawn ?? framesDrawn ?? 0),
    loss: sum > 0 ? (lost ?? 0) / sum : null,
  };
}

/** @param {string} source */
function sourceInWords(source) {
  return source === 'screenAudio' ? 'screen sound' : source;
}

/** @param {RoomStatistics['tracks']} tracks */
function longestBuffer(tracks) {
  const waits = tracks.map(({ bufferedMs }) => bufferedMs).filter((wait) => typeof wait === 'number');
  return waits.length === 0 ? null : Math.max(...waits);
}

/** Nothing that says who was there or what was said. @param {Room} room @param {RoomStatistics | null} last @param {(number | null)[][][]} series */
async function diagnostics(room, last, series) {
  return {
    at: new Date().toISOString(),
    browser: navigator.userAgent,
    page: { secure: isSecureContext, origin: location.origin, screen: [innerWidth, innerHeight, devicePixelRatio] },
    support: await Room.checkSupport(),
    state: room.state,
    participants: room.remoteParticipants.size + 1,
    last,
    history: Object.fromEntries(PLOTS.map(({ kind }, at) => [kind.title, Object.fromEntries(kind.lines.map((line, of) => [line, series[at][of]]))])),
  };
}
