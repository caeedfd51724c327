/** Who is in the room. */
import { avatar, button, element, find, icon, useIcon, words } from './element.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */
/** @typedef {import('../sdk/tertulia.js').RemoteParticipant} RemoteParticipant */
/** @typedef {import('../sdk/tertulia.js').RemoteTrack} RemoteTrack */

/** What an admin can silence. */
const SOURCES = /** @type {Record<string, string>} */ ({ microphone: 'microphone', camera: 'camera', screen: 'screen' });

const HAS_LEFT = / \(has left\)$/;

/**
 * Keeps the list and the choice of whom to write to in step with the room.
 * @param {Room} room
 * @param {(text: string) => void} note says something in passing
 */
export function showRoster(room, note) {
  const list = find('roster', HTMLUListElement);
  /** @type {Map<RemoteParticipant, Row>} */
  const rows = new Map();
  const fail = (/** @type {Error} */ error) => note(error.message);
  const signs = new Signs();
  const own = () => person(room.localParticipant.name, 'you', ...signs.nodes);
  let self = own();
  const show = () => {
    find('people-count', HTMLSpanElement).textContent = String(rows.size + 1);
    showRecipients([...rows.keys()]);
  };
  room.on('participantConnected', (participant) => {
    const row = new Row(participant, {
      remove: () => void room.removeParticipant(participant.id).catch(fail),
      mute: (track) => void room.muteTrack(track.id).catch(fail),
    });
    rows.set(participant, row);
    // One by one, so that an open menu and the focus stay where they are.
    list.append(row.node);
    show();
  });
  room.on('participantDisconnected', ({ participant }) => {
    rows.get(participant)?.node.remove();
    rows.delete(participant);
    show();
  });
  for (const type of /** @type {const} */ (['trackPublished', 'trackUnpublished', 'trackMuted'])) {
    room.on(type, ({ participant }) => rows.get(participant)?.show());
  }
  room.on('stateChanged', () => {
    list.dataset.admin = String(room.permissions?.admin === true);
    const now = own();
    self.replaceWith(now);
    self = now;
  });
  const showOwn = () => signs.show([...room.localParticipant.tracks.values()]);
  for (const type of /** @type {const} */ (['localTrackPublished', 'localTrackUnpublished', 'localTrackMuted'])) room.on(type, showOwn);
  showOwn();
  list.replaceChildren(self);
  show();
}

/** Whoever was chosen stays so after leaving: what is written to them is not for everyone. @param {RemoteParticipant[]} others */
function showRecipients(others) {
  const to = find('to', HTMLSelectElement);
  const [chosen] = to.selectedOptions;
  to.replaceChildren(new Option('Everyone', ''), ...others.map(({ id, name }) => new Option(name, String(id))));
  if (!chosen) return;
  to.value = chosen.value;
  if (to.selectedIndex >= 0) return;
  to.append(chosen);
  chosen.text = `${chosen.text.replace(HAS_LEFT, '')} (has left)`;
  chosen.selected = true;
}

/** @param {string} name @param {string} tag @param {...HTMLElement} signs */
function person(name, tag, ...signs) {
  const who = words('span', 'who', name);
  who.title = name;
  return element('li', 'person', avatar(name), who, ...(tag ? [element('span', 'tag', tag)] : []), ...signs);
}

/** Whether the microphone and the camera of someone are on. */
class Signs {
  #signs = /** @type {const} */ (['microphone', 'camera']).map((source) => {
    const node = element('span', 'sign', icon(source));
    node.role = 'img';
    return { source, node };
  });
  nodes = this.#signs.map(({ node }) => node);

  /** @param {{ source: string, muted: boolean }[]} tracks */
  show(tracks) {
    for (const { source, node } of this.#signs) {
      const isOn = tracks.some((track) => track.source === source && !track.muted);
      useIcon(node, isOn ? source : `${source}-off`);
      node.dataset.on = String(isOn);
      node.ariaLabel = node.title = `${source === 'camera' ? 'Camera' : 'Microphone'} ${isOn ? 'on' : 'off'}`;
    }
  }
}

/** Someone else in the list, with what an admin can do. */
class Row {
  #participant;
  #signs = new Signs();
  #more = button('more', '⋯');
  #menu = element('div', 'actions');
  #mute;

  /** @param {RemoteParticipant} participant @param {{ remove: () => void, mute: (track: RemoteTrack) => void }} acts */
  constructor(participant, { remove, mute }) {
    const { name, kind } = participant;
    this.#participant = participant;
    this.#mute = (/** @type {RemoteTrack} */ track) => {
      this.#open(false);
      mute(track);
    };
    this.node = person(name, kind === 'plain' ? 'chat only' : '');
    this.#more.ariaLabel = `Actions for ${name}`;
    this.#more.onclick = () => this.#open(this.#menu.hidden !== false);
    const away = button('quiet danger action', 'Remove');
    away.ariaLabel = `Remove ${name}`;
    away.title = 'Sends them away, and keeps them out for a while';
    away.onclick = () => {
      this.#open(false);
      remove();
    };
    this.#menu.append(away);
    this.node.append(...(kind === 'plain' ? [] : this.#signs.nodes), this.#more, this.#menu);
    this.node.onkeydown = ({ key }) => {
      if (key !== 'Escape' || this.#menu.hidden) return;
      this.#open(false);
      this.#more.focus();
    };
    this.#open(false);
    this.show();
  }

  /** What they send changed. */
  show() {
    const tracks = [...this.#participant.tracks.values()];
    this.#signs.show(tracks);
    const mutes = tracks.filter(({ muted, info }) => !muted && SOURCES[info.source]).map((track) => {
      const item = button('quiet action', `Switch off ${SOURCES[track.info.source]}`);
      item.dataset.testid = 'mute-track';
      item.onclick = () => this.#mute(track);
      return item;
    });
    this.#menu.replaceChildren(...mutes, /** @type {Element} */ (this.#menu.lastElementChild));
  }

  /** @param {boolean} isOpen */
  #open(isOpen) {
    this.#menu.hidden = !isOpen;
    this.#more.ariaExpanded = String(isOpen);
  }
}
