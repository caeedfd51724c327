/** One picture in the meeting: of someone's camera or screen, with the name and what there is to know about it. */
import { avatar, button, element, icon, useIcon, words } from './element.js';

/** @typedef {import('../sdk/tertulia.js').LocalTrack} LocalTrack */
/** @typedef {import('../sdk/tertulia.js').RemoteTrack} RemoteTrack */
/** @typedef {'camera' | 'screen'} TileSource */
/** @typedef {'on' | 'off' | 'held' | 'waiting' | 'stalled' | 'failed' | 'sealed'} Picture */

/**
 * What a tile shows.
 * @typedef {object} View
 * @property {string} name
 * @property {boolean} own
 * @property {TileSource} source
 * @property {LocalTrack | RemoteTrack | null} track of the picture
 * @property {boolean} muted whether no sound is sent
 * @property {boolean} sealed whether what comes cannot be decrypted
 * @property {boolean} chatOnly a plain client that has neither camera nor microphone
 */

const SAYS = /** @type {Record<Picture, string>} */ ({
  on: '', off: '', held: 'Seen when they speak, or when you make it large.', waiting: '', stalled: 'The picture has stopped. It goes on as soon as more arrives.',
  failed: 'The picture cannot be shown here.',
  sealed: 'It cannot be decrypted here: one of you has another link.',
});
const PAUSED = 'The screen is paused.';

export class Tile {
  /** @type {LocalTrack | RemoteTrack | null} */
  #attached = null;
  #label = words('span', 'name', '');
  #muted = icon('microphone-off');
  #says = element('p', 'says');
  #face = element('div', 'face');
  #picture;
  #pin;
  #faceName = '';

  /** @param {View} view @param {() => void} pin */
  constructor({ own, source, name }, pin) {
    this.own = own;
    this.source = source;
    /** The last time that its sound was heard, in milliseconds of `performance.now()`. */
    this.spokeAtMs = -Infinity;
    this.#picture = own ? ownPicture(source) : element('div', 'picture');
    this.#pin = button('round small pin', icon('pin'));
    this.#pin.dataset.testid = 'pin';
    this.#pin.onclick = pin;
    const label = element('p', 'label', this.#muted, this.#label);
    this.node = element('div', 'tile', this.#picture, this.#face, this.#says, label, this.#pin);
    this.node.role = 'group';
    Object.assign(this.node.dataset, { testid: 'tile', source, own: String(own), speaking: 'false', pinned: 'false', name });
    this.#muted.setAttribute('class', 'icon muted');
  }

  /** @param {View} view */
  show({ name, own, source, track, muted, sealed, chatOnly }) {
    const picture = pictureOf(track, sealed, own);
    const shown = source === 'screen' ? (own ? 'Your screen' : `${name}’s screen`) : own ? `${name} (you)` : name;
    Object.assign(this.node.dataset, { name, picture, muted: String(muted) });
    this.#label.textContent = shown;
    const says = source === 'screen' && picture === 'off' ? PAUSED : SAYS[picture];
    this.#says.textContent = chatOnly ? 'Chat only' : says;
    const isCameraOff = source === 'camera' && picture === 'off';
    this.node.ariaLabel = [shown, source === 'camera' && muted && !chatOnly ? 'microphone off' : '', isCameraOff ? 'camera off' : says].filter(Boolean).join(', ');
    this.#muted.toggleAttribute('hidden', !muted || source === 'screen' || chatOnly);
    if (this.#faceName !== name) this.#face.replaceChildren(avatar(name));
    this.#faceName = name;
    this.#namePin(shown);
    this.#attach(track);
  }

  /** @param {boolean} isPinned */
  set pinned(isPinned) {
    this.node.dataset.pinned = String(isPinned);
    this.#pinTrack();
    this.#pin.ariaPressed = String(isPinned);
    useIcon(this.#pin, isPinned ? 'unpin' : 'pin');
    this.#namePin(this.#label.textContent ?? '');
  }

  /** @param {boolean} isSpeaking */
  set speaking(isSpeaking) {
    this.node.dataset.speaking = String(isSpeaking);
    if (isSpeaking) this.spokeAtMs = performance.now();
  }

  remove() {
    this.#attach(null);
    this.node.remove();
  }

  /** What is large is to be seen, whoever speaks. */
  #pinTrack() {
    if (this.#attached && 'setPinned' in this.#attached) this.#attached.setPinned(this.node.dataset.pinned === 'true');
  }

  /** @param {string} shown */
  #namePin(shown) {
    const isPinned = this.node.dataset.pinned === 'true';
    this.#pin.ariaLabel = isPinned ? `Put ${shown} back among the others` : `Make ${shown} large`;
    this.#pin.title = isPinned ? 'Back among the others' : 'Make it large';
  }

  /** @param {LocalTrack | RemoteTrack | null} track */
  #attach(track) {
    if (track === this.#attached) return;
    this.#attached?.detach(/** @type {any} */ (this.#picture));
    this.#attached = track;
    track?.attach(/** @type {any} */ (this.#picture));
    this.#pinTrack();
  }
}

/** @param {TileSource} source */
function ownPicture(source) {
  const video = element('video', source === 'camera' ? 'picture mirrored' : 'picture');
  video.muted = video.autoplay = video.playsInline = true;
  return video;
}

/** @param {LocalTrack | RemoteTrack | null} track @param {boolean} sealed @param {boolean} own @returns {Picture} */
function pictureOf(track, sealed, own) {
  if (sealed) return 'sealed';
  if (!track || track.muted) return 'off';
  if (own || !('state' in track)) return 'on';
  if (track.isHeld) return 'held';
  return track.state === 'playing' ? 'on' : track.state;
}
