/** How the connection does: plots of the last minutes, a table of the tracks, and a text to send to whoever can help. */
import { Room } from '../sdk/tertulia.js';
import { reasonInWords } from './connection.js';
import { button, element, find } from './element.js';
import { bits, milliseconds, share } from './figures.js';
import { Plot } from './plot.js';
import { toast } from './toasts.js';

/** @typedef {import('../sdk/tertulia.js').RoomStatistics} RoomStatistics */

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
  const plots = PLOTS.map(({ kind, of }) => ({ of, plot: new Plot(kind, SECONDS), series: kind.lines.map(() => /** @type {(number | null)[]} */ ([])) }));
  const rows = element('tbody', '');
  const heads = ['Track', 'Picture', 'Bitrate', 'Lost'].map((name) => {
    const head = element('th', '', name);
    head.scope = 'col';
    return head;
  });
  const table = element('table', '', element('caption', '', 'Tracks'), element('thead', '', element('tr', '', ...heads)), rows);
  const copy = button('quiet wide', 'Copy diagnostics');
  copy.dataset.testid = 'copy-diagnostics';
  const text = element('textarea', 'diagnostics');
  text.readOnly = text.hidden = true;
  text.ariaLabel = 'Diagnostics';
  panel.replaceChildren(how, ...plots.map(({ plot }) => plot.node), element('div', 'scroll', table), copy, text);
  /** @type {RoomStatistics | null} */
  let last = null;
  const draw = () => {
    how.textContent = last ? reasonInWords(last.carrier, last.carrierReason) : 'Figures come once a second.';
    for (const { plot, series } of plots) plot.draw(series);
    rows.replaceChildren(...(last?.tracks ?? []).map((track) => rowOf(room, track)));
  };
  room.on('statistics', (statistics) => {
    last = statistics;
    for (const { of, series } of plots) {
      for (const [at, value] of of(statistics).entries()) {
        series[at].push(value);
        if (series[at].length > SECONDS) series[at].shift();
      }
    }
    if (!panel.hidden) draw();
  });
  copy.onclick = async () => {
    const report = JSON.stringify(diagnostics(room, last, plots.map(({ series }) => series)), null, 2);
    const copied = await navigator.clipboard?.writeText(report).then(() => true, () => false);
    if (copied) return toast('Diagnostics copied. They hold no names, no chat and no keys.');
    text.hidden = false;
    text.value = report;
    text.select();
  };
  draw();
  return draw;
}

/** @param {Room} room @param {RoomStatistics['tracks'][number]} track */
function rowOf(room, track) {
  const name = track.participant ? room.remoteParticipants.get(track.participant)?.name ?? 'Someone' : 'You';
  const picture = track.height ? `${track.width}×${track.height}${track.frameRate ? ` · ${Math.round(track.frameRate)}/s` : ''}` : '';
  const head = element('th', '', name, element('small', '', [sourceInWords(track.source), track.codec].filter(Boolean).join(' · ')));
  head.scope = 'row';
  const cells = [picture, track.bitrate === null ? '' : bits(track.bitrate), track.loss === null ? '' : share(track.loss)];
  const row = element('tr', '', head, ...cells.map((cell) => element('td', '', cell)));
  row.dataset.testid = 'track-row';
  return row;
}

/** @param {string} source */
function sourceInWords(source) {
  return source === 'screenAudio' ? 'screen sound' : source;
}

/** @param {RoomStatistics['tracks']} tracks */
function longestBuffer(tracks) {
  const waits = tracks.map(({ bufferMs }) => bufferMs).filter((wait) => typeof wait === 'number');
  return waits.length === 0 ? null : Math.max(...waits);
}

/** Nothing that says who was there or what was said. @param {Room} room @param {RoomStatistics | null} last @param {(number | null)[][][]} series */
function diagnostics(room, last, series) {
  return {
    at: new Date().toISOString(),
    browser: navigator.userAgent,
    page: { secure: isSecureContext, origin: location.origin, screen: [innerWidth, innerHeight, devicePixelRatio] },
    support: Room.checkSupport(),
    state: room.state,
    participants: room.remoteParticipants.size + 1,
    last,
    history: Object.fromEntries(PLOTS.map(({ kind }, at) => [kind.title, Object.fromEntries(kind.lines.map((line, of) => [line, series[at][of]]))])),
  };
}
