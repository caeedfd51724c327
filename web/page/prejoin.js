/** Before the meeting: one sees oneself, chooses devices, says a name, and a token if the relay asks for one. */
import { Room, TertuliaError } from '../sdk/tertulia.js';
import { assure } from './encryption.js';
import { avatar, find, useIcon } from './element.js';
import { showDevices } from './devices.js';
import { showLevel } from './level.js';
import { DEVICES } from './own-media.js';
import { choose, rememberName, rememberedName } from './preferences.js';
import { isInsecure, problemsOf, showInsecure, showProblems } from './problems.js';
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
  const submit = find('join', HTMLButtonElement);
  const without = find('join-without', HTMLButtonElement);
  const problem = find('join-error', HTMLParagraphElement);
  const fillDevices = showDevices(find('device-choice', HTMLDivElement), 'device', media, () => {});
  const preview = showPreview(media, () => name.value.trim(), fillDevices);
  const busy = (/** @type {boolean} */ isBusy) => {
    submit.disabled = without.disabled = isBusy;
    submit.textContent = isBusy ? 'Joining…' : 'Join';
  };
  const enter = () => {
    rememberName(name.value.trim());
    if (token.value.trim()) rememberToken(token.value.trim());
    problem.textContent = '';
    busy(true);
    join({ name: name.value.trim() });
  };
  find('join-form', HTMLFormElement).onsubmit = (event) => {
    event.preventDefault();
    enter();
  };
  without.onclick = () => {
    if (!find('join-form', HTMLFormElement).reportValidity()) return;
    for (const device of DEVICES) void media.set(device, false);
    enter();
  };
  name.oninput = preview.draw;
  return {
    open(room, isEncrypted) {
      find('prejoin-room', HTMLHeadingElement).textContent = room;
      assure(isEncrypted);
      name.value ||= rememberedName();
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
  let endLevel = () => {};
  const draw = () => {
    if (!isOpen) return;
    const camera = media.isOn('camera') ? media.track('camera') : null;
    if (camera !== attached) {
      attached?.detach(video);
      camera?.attach(video);
      attached = camera;
    }
    preview.dataset.state = camera ? 'on' : media.isBusy('camera') ? 'waiting' : 'off';
    face.replaceChildren(avatar(name() || '?'));
    says.textContent = camera ? '' : media.isBusy('camera') ? 'Waiting for the camera. The browser may ask you to allow it.' : 'Your camera is off';
    for (const device of DEVICES) {
      const button = find(`preview-${device}`, HTMLButtonElement);
      button.ariaPressed = String(media.isOn(device));
      useIcon(button, media.isOn(device) ? device : `${device}-off`);
      button.disabled = isInsecure();
    }
    if (isInsecure()) return;
    showProblems(place, [...unsupported, ...problemsOf(media.problems)], () => void media.startAgain());
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
    draw,
    open() {
      isOpen = true;
      endLevel();
      endLevel = showLevel(find('level', HTMLDivElement), () => (media.isOn('microphone') ? media.track('microphone')?.level ?? 0 : null));
      draw();
      if (isInsecure()) return void showInsecure(place);
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
