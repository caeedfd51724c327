/** The choices that one makes in the meeting. */
import { forgetAnnouncements } from './announcer.js';
import { showDevices } from './devices.js';
import { find } from './element.js';
import { choosePictureLines, pictureLines } from './own-media.js';
import { choices, choose } from './preferences.js';
import { problemOf } from './problems.js';
import { bringToasts, toast } from './toasts.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */
/** @typedef {import('./own-media.js').OwnMedia} OwnMedia */

const QUALITIES = /** @type {const} */ ([[0, 'Automatic'], [720, 'High, 720 lines'], [360, 'Medium, 360 lines'], [180, 'Low, 180 lines: saves data and battery']]);

/** By the ids of their boxes. */
const SOUND = /** @type {const} */ ({ 'noise-suppression': 'noiseSuppression', 'echo-cancellation': 'echoCancellation', 'gain-control': 'autoGainControl' });

/** @param {OwnMedia} media @param {() => Room | null} current */
export function showSettings(media, current) {
  const dialog = find('settings', HTMLDialogElement);
  const speak = (/** @type {string} */ deviceId) => {
    current()?.switchActiveDevice('audiooutput', deviceId).catch((/** @type {any} */ error) => toast(problemOf('loudspeaker', error).join(' '), 'problem'));
  };
  const fillDevices = showDevices(find('settings-devices', HTMLDivElement), 'settings', media, speak);
  const fillQuality = showQuality(media);
  find('open-settings', HTMLButtonElement).onclick = () => {
    void fillDevices();
    fillQuality();
    dialog.showModal();
  };
  find('settings-close', HTMLButtonElement).onclick = () => dialog.close();
  dialog.onclose = () => {
    bringToasts();
    forgetAnnouncements();
  };
  dialog.onclick = ({ target }) => {
    if (target === dialog) dialog.close();
  };
  navigator.mediaDevices?.addEventListener('devicechange', () => void fillDevices());
  for (const [id, choice] of Object.entries(SOUND)) {
    const box = find(id, HTMLInputElement);
    box.checked = choices[choice];
    box.onchange = () => {
      choose({ [choice]: box.checked });
      void media.renew('microphone');
    };
  }
  const shortcuts = find('shortcuts', HTMLInputElement);
  shortcuts.checked = choices.shortcuts;
  shortcuts.onchange = () => choose({ shortcuts: shortcuts.checked });
}

/** @param {OwnMedia} media @returns {() => void} shows the size that is sent now */
function showQuality(media) {
  const quality = find('quality', HTMLSelectElement);
  quality.replaceChildren(...QUALITIES.map(([lines, label]) => new Option(label, String(lines))));
  quality.onchange = () => {
    choosePictureLines(Number(quality.value));
    void media.renew('camera');
  };
  return () => void (quality.value = String(pictureLines()));
}
