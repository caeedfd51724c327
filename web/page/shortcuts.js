/** Single keys that do what a button does, while one is not typing. */
import { element, find } from './element.js';
import { choices } from './preferences.js';

/** @type {readonly { key: string, button: string, text: string }[]} */
const SHORTCUTS = [
  { key: 'm', button: 'toggle-microphone', text: 'Microphone on or off' },
  { key: 'v', button: 'toggle-camera', text: 'Camera on or off' },
  { key: 's', button: 'toggle-screen', text: 'Share the screen, or stop' },
  { key: 'c', button: 'toggle-chat', text: 'Chat' },
  { key: 'p', button: 'toggle-people', text: 'People' },
  { key: 'i', button: 'badge', text: 'Connection and statistics' },
  { key: 'l', button: 'copy-link', text: 'Copy the link' },
  { key: '?', button: 'open-settings', text: 'This list' },
];

export function listenToKeys() {
  find('shortcut-list', HTMLElement).replaceChildren(...SHORTCUTS.map(({ key, text }) => element('div', '', element('dt', '', element('kbd', '', key)), element('dd', '', text))));
  addEventListener('keydown', (event) => {
    if (!choices.shortcuts || event.repeat || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.body.dataset.screen !== 'meeting' || document.querySelector('dialog[open]') || isTyping(event.target)) return;
    const shortcut = SHORTCUTS.find(({ key }) => key === event.key.toLowerCase());
    if (!shortcut) return;
    event.preventDefault();
    const button = find(shortcut.button, HTMLButtonElement);
    if (!button.hidden && !button.disabled) button.click();
  });
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLElement && target.matches('input, textarea, select, [contenteditable]');
}
