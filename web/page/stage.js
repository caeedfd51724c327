/** Where the pictures are: all alike in a grid, or one large on the stage and the others in a strip beside it. */
import { button, element, find, icon } from './element.js';
import { fit, pageOf } from './grid.js';
import { Tile } from './tile.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */
/** @typedef {import('../sdk/tertulia.js').RemoteParticipant} RemoteParticipant */
/** @typedef {import('./tile.js').View} View */
/** @typedef {import('./own-media.js').OwnMedia} OwnMedia */

/** Between tiles, in CSS pixels, as in stage.css. */
const GAP = 10;

/** Whoever spoke so lately keeps the place on the first page, in milliseconds. */
const RECENT_MS = 8000;

/** @typedef {{ dispose(): void }} Stage */

/**
 * @param {Room} room
 * @param {OwnMedia} media
 * @param {() => void} copyLink
 * @returns {Stage}
 */
export function showStage(room, media, copyLink) {
  const [focus, grid] = ['focus', 'grid'].map((id) => find(id, HTMLDivElement));
  const stage = find('stage', HTMLElement);
  const invite = invitation(copyLink);
  /** In the order of the room, oneself first. @type {Map<string, Tile>} */
  const tiles = new Map();
  /** Whose media cannot be decrypted. @type {Set<number>} */
  const sealed = new Set();
  /** @type {string | null} */
  let pinned = null;
  /** Screens that were put back among the others. @type {Set<string>} */
  const dismissed = new Set();
  let page = 0;

  const pin = (/** @type {string} */ key) => {
    const isLarge = focused() === key;
    pinned = isLarge ? null : key;
    if (isLarge) dismissed.add(key);
    else dismissed.delete(key);
    draw();
  };
  const focused = () => {
    if (pinned && tiles.has(pinned)) return pinned;
    return [...tiles].findLast(([key, { own, source }]) => source === 'screen' && !own && !dismissed.has(key))?.[0] ?? null;
  };

  const draw = () => {
    // A meeting that is over shows nothing, and what it drew on is of no use to the next one.
    const views = room.state === 'disconnected' ? new Map() : viewsOf(room, media, sealed);
    for (const [key, tile] of tiles) {
      if (views.has(key)) continue;
      tile.remove();
      tiles.delete(key);
    }
    for (const [key, view] of views) {
      const tile = tiles.get(key) ?? new Tile(view, () => pin(key));
      tiles.set(key, tile);
      tile.show(view);
    }
    place();
  };

  const place = () => {
    const large = focused();
    stage.dataset.layout = large ? 'focus' : 'grid';
    const others = [...tiles].filter(([key]) => key !== large).map(([, tile]) => tile);
    for (const [key, tile] of tiles) tile.pinned = key === large;
    put(focus, large ? [/** @type {Tile} */ (tiles.get(large)).node] : []);
    const isAlone = tiles.size === 1 && !large;
    if (large) return placeStrip(others);
    const bounds = grid.getBoundingClientRect();
    const count = others.length + (isAlone ? 1 : 0);
    const size = fit(count, { width: bounds.width, height: bounds.height, gap: GAP });
    grid.style.setProperty('--tile-width', `${size.width}px`);
    grid.style.setProperty('--tile-height', `${size.height}px`);
    const paged = pageOf(others.length > size.perPage ? byVoice(others, size.perPage) : others, size.perPage, page);
    page = paged.page;
    put(grid, [...paged.shown.map(({ node }) => node), ...(isAlone ? [invite] : [])]);
    showPages(paged.page, paged.pages);
  };

  const placeStrip = (/** @type {Tile[]} */ others) => {
    grid.style.removeProperty('--tile-width');
    grid.style.removeProperty('--tile-height');
    put(grid, others.map(({ node }) => node));
    showPages(0, 1);
  };

  const turn = (/** @type {number} */ by) => {
    page += by;
    place();
  };
  find('page-previous', HTMLButtonElement).onclick = () => turn(-1);
  find('page-next', HTMLButtonElement).onclick = () => turn(1);

  for (const type of /** @type {const} */ ([
    'participantConnected', 'participantDisconnected', 'trackPublished', 'trackUnpublished', 'trackMuted', 'trackSubscribed', 'trackUnsubscribed',
    'trackStateChanged', 'localTrackPublished', 'localTrackUnpublished', 'localTrackMuted', 'stateChanged',
  ])) room.on(type, draw);
  room.on('encryptionFailed', ({ participant }) => {
    if (sealed.has(participant.id)) return;
    sealed.add(participant.id);
    draw();
  });
  room.on('participantDisconnected', ({ participant }) => void sealed.delete(participant.id));
  room.on('activeSpeakers', ({ participants }) => {
    const speaking = new Set(participants.map(({ id }) => keyOf(room, id)));
    for (const [key, tile] of tiles) tile.speaking = speaking.has(key);
    if (!find('pages', HTMLDivElement).hidden) place();
  });
  const endChanges = media.onChange(draw);
  const observer = new ResizeObserver(place);
  observer.observe(grid);
  draw();
  return {
    dispose() {
      endChanges();
      observer.disconnect();
      for (const tile of tiles.values()) tile.remove();
      tiles.clear();
    },
  };
}

/** @param {Room} room @param {number} id */
function keyOf(room, id) {
  return id === room.localParticipant.id ? 'own' : `participant ${id}`;
}

/** All there is to show, in order. @param {Room} room @param {OwnMedia} media @param {Set<number>} sealed @returns {Map<string, View>} */
function viewsOf(room, media, sealed) {
  const { name } = room.localParticipant;
  const own = { name, own: true, sealed: false, chatOnly: false };
  /** @type {[string, View][]} */
  const views = [['own', { ...own, source: 'camera', track: media.track('camera'), muted: !media.isOn('microphone') }]];
  for (const participant of room.remoteParticipants.values()) {
    const tracks = [...participant.tracks.values()];
    const from = (/** @type {string} */ source) => tracks.find((track) => track.info.source === source) ?? null;
    const microphone = from('microphone');
    const view = { name: participant.name, own: false, sealed: sealed.has(participant.id), chatOnly: participant.kind === 'plain' };
    views.push([keyOf(room, participant.id), { ...view, source: 'camera', track: from('camera'), muted: !microphone || microphone.muted }]);
    const screen = from('screen');
    if (screen) views.push([`screen ${screen.id}`, { ...view, source: 'screen', track: screen, muted: false }]);
  }
  const screen = room.localParticipant.tracks.get('screen') ?? null;
  if (screen) views.push(['own screen', { ...own, source: 'screen', track: screen, muted: false }]);
  return new Map(views);
}

/** Who spoke lately comes to the first page, after oneself; the others stay where they are. @param {Tile[]} tiles @param {number} perPage */
function byVoice(tiles, perPage) {
  const since = performance.now() - RECENT_MS;
  const spoke = tiles.slice(perPage).filter(({ spokeAtMs }) => spokeAtMs > since);
  const stay = tiles.filter((tile) => !spoke.includes(tile));
  return [...stay.slice(0, 1), ...spoke, ...stay.slice(1)];
}

/** Puts nodes into a place, and moves only what is elsewhere: a picture that is moved is drawn anew. @param {HTMLElement} place @param {HTMLElement[]} nodes */
function put(place, nodes) {
  for (const node of [...place.children]) if (!nodes.includes(/** @type {HTMLElement} */ (node))) node.remove();
  for (const [at, node] of nodes.entries()) if (place.children[at] !== node) place.insertBefore(node, place.children[at] ?? null);
}

/** @param {number} page @param {number} pages */
function showPages(page, pages) {
  find('pages', HTMLDivElement).hidden = pages < 2;
  find('page-number', HTMLSpanElement).textContent = `${page + 1} of ${pages}`;
  find('page-previous', HTMLButtonElement).disabled = page === 0;
  find('page-next', HTMLButtonElement).disabled = page === pages - 1;
}

/** What is beside one's own picture as long as nobody else is there. @param {() => void} copyLink */
function invitation(copyLink) {
  const copy = button('primary', icon('link'), 'Copy link');
  copy.onclick = copyLink;
  const node = element('div', 'tile invite', element('p', 'title', 'Nobody else is here yet'), element('p', '', 'Send the link to whom you want to see.'), copy);
  node.dataset.testid = 'invite';
  return node;
}
