/** Before the meeting: one sees oneself, chooses devices, says a name, and a token if the relay asks for one. */
import { Room, TertuliaError } from '../sdk/tertulia.js';
import { assure } from './encryption.js';
import { problemOfName } from './display-name.js';
import { avatar, find, setText, useIcon } from './element.js';
import { showDevices } from './devices.js';
import { isInsecure, showInsecure, whyHidden } from './insecure.js';
import { showLevel } from './level.js';
import { DEVICES } from './own-media.js';
import { choose, rememberName, rememberedName } from './preferences.js';
import { problemsOf, showProblems } from './problems.js';
import { forgetToken, rememberToken } from './tab.js';

/** @typedef {import('./own-media.js').OwnMedia} OwnMedia */

/** Codes that another token can mend. */
const TOKEN_CODES = new Set(['token_missing', 'token_invalid', 'token_expired']);

/** @param {unknown} error */
export function asksForToken(error) {
  return error instanceof TertuliaError && TOKEN_CODES.has(error.code);
}

/** @typedef {{ open(room: string, isEncrypted: boolean): void, refuse(error: unknown): void, takeToken(token: string): void, close(): void }} Prejoin */

/** @param {OwnMedia} media @param {(wish: { name: string }) => void} join @returns {Prejoin} */
export function showPrejoin(media, join) {
  const [name, token] = ['name', 'token'].map((id) => find(id, HTMLInputElement));
  let remembered = rememberedName();
  const submit = find('join', HTMLButtonElement);
  const without = find('join-without', HTMLButtonElement);
  const problem = find('join-error', HTMLParagraphElement);
  const fillDevices = showDevices(find('device-choice', HTMLDivElement), 'device', media, () => {});
  const preview = showPreview(media, () => name.value.trim(), fillDevices);
  const busy = (/** @type {boolean} */ isBusy) => {
    submit.disabled = without.disabled = isBusy;
    submit.textContent = isBusy ? 'Joining…' : 'Join';
  };
  /** Says what is wrong with the name, if something is. */
  const isNamed = () => {
    name.value = name.value.trim();
    const wrong = problemOfName(name.value);
    if (wrong === '') return true;
    problem.textContent = wrong;
    name.focus();
    return false;
  };
  const enter = () => {
    rememberName((remembered = name.value));
    if (token.value.trim()) rememberToken(token.value.trim());
    problem.textContent = '';
    busy(true);
    join({ name: name.value });
  };
  find('join-form', HTMLFormElement).onsubmit = (event) => {
    event.preventDefault();
    if (isNamed()) enter();
  };
  without.onclick = () => {
    if (!isNamed() || !find('join-form', HTMLFormElement).reportValidity()) return;
    for (const device of DEVICES) void media.set(device, false);
    enter();
  };
  name.oninput = preview.drawFace;
  return {
    open(room, isEncrypted) {
      find('prejoin-room', HTMLHeadingElement).textContent = room;
      assure(isEncrypted);
      // Another one may have been said on the landing since.
      const known = rememberedName();
      if (name.value === '' || (known !== '' && known !== remembered)) name.value = remembered = known;
      busy(false);
      preview.open();
      (name.value ? submit : name).focus();
    },
    refuse(error) {
      busy(false);
      problem.textContent = error instanceof Error ? error.message : '';
      if (!asksForToken(error)) return submit.focus();
      forgetToken();
      token.value = '';
      find('token-field', HTMLDivElement).hidden = false;
      token.required = true;
      token.focus();
    },
    takeToken: (taken) => void (token.value = taken),
    close: preview.close,
  };
}

/** @param {OwnMedia} media @param {() => string} name @param {() => Promise<void>} fillDevices */
function showPreview(media, name, fillDevices) {
  const [preview, face, place] = ['preview', 'preview-face', 'media-problem'].map((id) => find(id, HTMLDivElement));
  const video = find('preview-video', HTMLVideoElement);
  const says = find('preview-says', HTMLParagraphElement);
  /** @type {import('./own-media.js').LocalTrack | null} */
  let attached = null;
  let isOpen = false;
  /** What this browser cannot do. @type {{ code: string, title: string, text: string }[]} */
  let unsupported = [];
  /** What went wrong with devices the last time. @type {typeof unsupported} */
  let failed = [];
  let endLevel = () => {};
  const drawFace = () => face.replaceChildren(avatar(name() || '?'));
  const draw = () => {
    if (!isOpen) return;
    const camera = media.isOn('camera') ? media.track('camera') : null;
    if (camera !== attached) {
      attached?.detach(video);
      camera?.attach(video);
      attached = camera;
    }
    preview.dataset.state = camera ? 'on' : media.isBusy('camera') ? 'waiting' : 'off';
    drawFace();
    setText(says, camera ? '' : media.isBusy('camera') ? 'Waiting for the camera. The browser may ask you to allow it.' : 'Your camera is off');
    for (const device of DEVICES) {
      const button = find(`preview-${device}`, HTMLButtonElement);
      button.ariaPressed = String(media.isOn(device));
      useIcon(button, media.isOn(device) ? device : `${device}-off`);
      button.disabled = isInsecure();
      button.title = isInsecure() ? whyHidden(device) : '';
    }
    if (isInsecure()) return;
    // While it is tried again, what went wrong the last time stays, and so does the focus.
    if (!DEVICES.some((device) => media.isBusy(device))) failed = problemsOf(media.problems);
    const hadFocus = place.contains(document.activeElement);
    showProblems(place, [...unsupported, ...failed], () => void media.startAgain());
    if (hadFocus && place.hidden) find('join', HTMLButtonElement).focus();
  };
  for (const device of DEVICES) {
    find(`preview-${device}`, HTMLButtonElement).onclick = () => {
      const on = !media.isOn(device);
      choose({ [`${device}On`]: on });
      void media.set(device, on);
    };
  }
  media.onChange(() => {
    draw();
    if (isOpen && !media.isBusy('camera') && !media.isBusy('microphone')) void fillDevices();
  });
  return {
    drawFace,
    open() {
      isOpen = true;
      endLevel();
      endLevel = showLevel(find('level', HTMLDivElement), () => (media.isOn('microphone') ? media.track('microphone')?.level ?? 0 : null));
      draw();
      if (isInsecure()) return void showInsecure('prejoin', place);
      void media.start();
      void Room.checkSupport().then(({ problems }) => {
        // Missing devices are told when they are opened.
        unsupported = problems.filter(({ code }) => code === 'codec_unsupported').map(({ code, message }) => ({ code, title: '', text: message }));
        draw();
      });
      navigator.mediaDevices?.addEventListener('devicechange', fillDevices);
    },
    close() {
      isOpen = false;
      endLevel();
      attached?.detach(video);
      attached = null;
      navigator.mediaDevices?.removeEventListener('devicechange', fillDevices);
    },
  };
}
