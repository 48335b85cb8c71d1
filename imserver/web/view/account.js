/**
 * One's own account: where one is signed in, and the password. Mode `token` only.
 * @module
 */

import { reason, shortTime, t } from '../i18n/texts.js';
import { el, put } from './dom.js';
import { dialog, field, form, toast } from './fields.js';

/** @typedef {import('../state/engine.js').Engine} Engine */
/**
 * @typedef {{token_id: string, device?: string, platform?: string, address?: string, used_at: string,
 *   current?: boolean}} Device
 */

/** @param {Engine} engine */
export function devices(engine) {
  const people = el('ul', { className: 'people' }, el('li', {}, t('loading')));
  const others = el('button', { type: 'button', className: 'danger', hidden: true, onclick: () => end('revoke_other_sessions', {}) }, t('sign_out_others'));
  dialog(t('devices'), people, el('div', { className: 'buttons' }, others));

  const load = async () => {
    /** @type {{sessions: Device[]}} */
    const { sessions } = await engine.account('list_sessions', {});
    others.hidden = sessions.length < 2;
    put(people, ...sessions.toReversed().map((device) => el('li', {},
      el('span', { className: 'person' }, el('bdi', {}, device.device || device.platform || '?'), device.current ? ` (${t('this_device')})` : '',
        el('br'), el('span', { className: 'hint' }, [device.address, shortTime(Date.parse(device.used_at), Date.now())].filter(Boolean).join(', '))),
      !device.current && el('button', { type: 'button', className: 'danger small', onclick: () => end('revoke_session', { token_id: device.token_id }) }, t('sign_out')))));
  };
  /** @param {string} name @param {Record<string, unknown>} request */
  const end = async (name, request) => {
    try {
      await engine.account(name, request);
      await load();
    } catch (error) {
      toast(reason(error));
    }
  };
  load().catch((error) => put(people, el('li', { className: 'problem' }, reason(error))));
}

/** @param {Engine} engine */
export function changePassword(engine) {
  const old = field(t('password'), { type: 'password', autocomplete: 'current-password', dir: 'ltr' });
  const fresh = field(t('new_password'), { type: 'password', autocomplete: 'new-password', dir: 'ltr' }, t('password_hint'));
  const box = dialog(t('change_password'), form({
    fields: [old.box, fresh.box], label: t('save'), reason,
    async submit() {
      await engine.account('change_password', { old_password: old.input.value, new_password: fresh.input.value });
      box.close();
      toast(t('password_changed'));
    },
  }));
  old.input.focus();
}
