/** What the page remembers on this device, where it is allowed to. */

const NAME = 'tertulia.name';

export function rememberedName() {
  try {
    return localStorage.getItem(NAME) ?? '';
  } catch {
    return '';
  }
}

/** @param {string} name */
export function rememberName(name) {
  try {
    localStorage.setItem(NAME, name);
  } catch {
    // Storage is forbidden or full: the name is asked for again.
  }
}
