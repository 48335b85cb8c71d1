/**
 * Parts that several views use: dialogs, fields, questions, short notes.
 * @module
 */

import { t } from '../i18n/texts.js';
import { Composition } from '../text/keys.js';
import { el, iconButton } from './dom.js';

let count = 0;

/**
 * A labelled field. Enter in it is the input method's while one composes.
 * @param {string} label
 * @param {Record<string, any>} props of the input
 * @param {string} [hint]
 */
export function field(label, props, hint) {
  const id = `field-${++count}`;
  const input = el('input', {
    id, type: 'text', autocomplete: 'off', autocapitalize: 'off', spellcheck: false, dir: 'auto',
    'aria-describedby': hint ? `${id}-hint` : null, ...props,
  });
  const composition = new Composition();
  composition.watch(input);
  input.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && composition.takes(event)) event.preventDefault();
  });
  const note = hint ? el('span', { className: 'hint', id: `${id}-hint` }, hint) : null;
  const box = el('div', { className: 'field' }, el('label', { htmlFor: id }, label), input, note);
  return { box, input };
}

/**
 * A dialog that removes itself when it is closed.
 * @param {string} title
 * @param {...(Node | null | false)} content
 */
export function dialog(title, ...content) {
  const id = `dialog-${++count}`;
  const close = iconButton('close', t('close'), () => element.close());
  const element = el('dialog', { className: 'dialog', 'aria-labelledby': id },
    el('header', {}, el('h2', { id, dir: 'auto' }, title), close),
    el('div', { className: 'dialog-body' }, ...content));
  element.addEventListener('close', () => element.remove());
  element.addEventListener('click', (event) => {
    if (event.target === element) element.close(); // beside it
  });
  document.body.append(element);
  element.showModal();
  return element;
}

/**
 * A form in a dialog: its button works while `submit` is under way, and says what went wrong.
 * @param {object} options
 * @param {Node[]} options.fields
 * @param {string} options.label of the button
 * @param {() => Promise<void> | void} options.submit
 * @param {(error: unknown) => string} options.reason
 * @param {string} [options.className]
 */
export function form({ fields, label, submit, reason, className = '' }) {
  const problem = el('p', { className: 'problem', role: 'alert' });
  const button = el('button', { type: 'submit', className: 'primary' }, label);
  const element = el('form', { className: `form ${className}`, noValidate: true }, ...fields, problem, button);
  element.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    problem.textContent = '';
    try {
      await submit();
    } catch (error) {
      problem.textContent = reason(error);
    } finally {
      button.disabled = false;
    }
  });
  return element;
}

/** Something that is wrong with what was typed; its message is shown as it is. */
export class Mistake extends Error {}

/**
 * Ask before something that cannot be undone.
 * @param {string} question
 * @param {string} label of the button that does it
 * @returns {Promise<boolean>}
 */
export function sure(question, label) {
  return new Promise((resolve) => {
    let answer = false;
    const box = dialog(label,
      el('p', { dir: 'auto' }, question),
      el('div', { className: 'buttons' },
        el('button', { type: 'button', className: 'plain-button', onclick: () => box.close() }, t('cancel')),
        el('button', { type: 'button', className: 'danger', onclick: () => { answer = true; box.close(); } }, label)));
    box.addEventListener('close', () => resolve(answer));
  });
}

/** A short note that goes by itself. @param {string} text */
export function toast(text) {
  const element = el('div', { className: 'toast', role: 'status' }, text);
  document.body.append(element);
  setTimeout(() => element.remove(), 3500);
}

/**
 * A menu at a button.
 * @param {HTMLElement} anchor
 * @param {{label: string, act: () => void, danger?: boolean}[]} items
 */
export function menu(anchor, items) {
  const element = el('div', { className: 'menu', role: 'menu', popover: 'auto' });
  for (const { label, act, danger } of items) {
    const onclick = () => {
      element.hidePopover();
      act();
    };
    element.append(el('button', { type: 'button', role: 'menuitem', tabIndex: -1, className: danger ? 'danger-text' : '', onclick }, label));
  }
  element.addEventListener('toggle', () => {
    if (!element.matches(':popover-open')) {
      element.remove();
      anchor.setAttribute('aria-expanded', 'false');
      anchor.focus({ preventScroll: true });
    }
  });
  element.addEventListener('keydown', (event) => {
    const buttons = [...element.querySelectorAll('button')];
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) buttons.at((at + step) % buttons.length)?.focus();
    else if (event.key === 'Tab') element.hidePopover();
    else return;
    event.preventDefault();
  });
  // A modal dialog makes everything outside it inert.
  (anchor.closest('dialog') ?? document.body).append(element);
  element.showPopover();
  anchor.setAttribute('aria-expanded', 'true');
  const [box, own] = [anchor.getBoundingClientRect(), element.getBoundingClientRect()];
  const below = box.bottom + own.height + 8 < innerHeight;
  const left = Math.max(8, Math.min(box.right - own.width, innerWidth - own.width - 8));
  Object.assign(element.style, {
    left: `${left}px`, top: `${below ? box.bottom + 4 : Math.max(8, box.top - own.height - 4)}px`,
  });
  element.querySelector('button')?.focus();
}
