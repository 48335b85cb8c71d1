/**
 * Groups: making one, its details, its members.
 * @module
 */

import { reason, t } from '../i18n/texts.js';
import { avatar } from './avatar.js';
import { el, iconButton, list, put } from './dom.js';
import { Mistake, dialog, field, form, menu, sure, toast } from './fields.js';

/** @typedef {import('../state/engine.js').Engine} Engine */

/** User ids, as people write them. @param {string} text */
export function idsIn(text) {
  return [...new Set(text.split(/[\s,;，、；]+/u).filter(Boolean))];
}

/** @param {unknown} error */
const explain = (error) => (error instanceof Mistake ? error.message : reason(error));

/**
 * Write to somebody by their name.
 * @param {Engine} engine
 * @param {(key: string) => void} open
 */
export function newChat(engine, open) {
  const name = field(t('person_name'), { name: 'person', maxLength: 64 });
  const box = dialog(t('direct_chat'), form({
    fields: [name.box], label: t('start_chat'), reason: explain,
    submit() {
      const id = name.input.value.trim();
      if (!id || /[\s\p{C}]/u.test(id) || id === 'system') throw new Mistake(t('name_invalid'));
      engine.patch(`u:${id}`, {});
      box.close();
      open(`u:${id}`);
    },
  }));
  name.input.focus();
}

/**
 * @param {Engine} engine
 * @param {(key: string) => void} open
 */
export function newGroup(engine, open) {
  const name = field(t('group_name'), { placeholder: t('group_name_hint'), maxLength: 128 });
  const members = field(t('add_members'), {}, t('members_hint'));
  const closed = el('input', { type: 'checkbox' });
  const box = dialog(t('create_group'), form({
    fields: [name.box, members.box, el('label', { className: 'check' }, closed, el('span', {}, t('private')))],
    label: t('create'), reason: explain,
    async submit() {
      const title = name.input.value.trim();
      if (!title) {
        name.input.focus();
        throw new Mistake(t('group_name_hint'));
      }
      const key = await engine.createGroup(title, idsIn(members.input.value), closed.checked);
      box.close();
      open(key);
    },
  }));
  name.input.focus();
}

/**
 * @param {Engine} engine
 * @param {string} id
 * @param {() => void} gone
 */
export function groupDetails(engine, id, gone) {
  const body = el('div', { className: 'details' });
  const people = el('ul', { className: 'people' });
  const ends = el('div', { className: 'buttons' });
  const box = dialog(t('group_details'), body, people, ends);
  const { me } = engine.state;

  /** @param {string} name @param {Record<string, unknown>} [request] */
  const act = async (name, request = {}) => {
    try {
      await engine.govern(name, { group_id: id, ...request });
      return true;
    } catch (error) {
      toast(reason(error));
      return false;
    }
  };

  /** @param {'leave_group' | 'dissolve_group'} name @param {string} question @param {string} label */
  const end = async (name, question, label) => {
    const group = engine.nameOf(`g:${id}`, '');
    if (!(await sure(question.replace('{name}', group), label)) || !(await act(name))) return;
    box.close();
    gone();
  };

  let drawnFor = '';
  /** @param {string} role */
  const drawBody = (role) => {
    const group = engine.state.groups.get(id);
    // What somebody is typing stays, unless what it is about has changed.
    const about = group && JSON.stringify([role, group.name, group.description, group.private]);
    if (!about || drawnFor === about) return;
    drawnFor = about;
    const governs = role === 'owner' || role === 'admin';
    const name = field(t('group_name'), { value: group.name, maxLength: 128, readOnly: !governs });
    const describing = field(t('description'), { value: group.description, maxLength: 1024, readOnly: !governs });
    const closed = el('input', { type: 'checkbox', checked: !!group.private });
    const add = field(t('add_members'), {}, t('members_hint'));
    put(body,
      governs
        ? form({
            fields: [name.box, describing.box, el('label', { className: 'check' }, closed, el('span', {}, t('private')))],
            label: t('save'), reason: explain,
            submit: async () => {
              await engine.govern('update_group', { group_id: id, name: name.input.value.trim(), description: describing.input.value, private: closed.checked });
            },
          })
        : el('div', { className: 'group-title' }, avatar(`g:${id}`, group.name), el('div', {}, el('h3', { dir: 'auto' }, group.name),
            el('p', { className: 'quiet', dir: 'auto' }, group.description || (group.private ? t('private') : t('public'))))),
      governs && form({
        className: 'inline', fields: [add.box], label: t('add'), reason: explain,
        submit: async () => {
          const members = idsIn(add.input.value);
          if (!members.length) return;
          await engine.govern('add_members', { group_id: id, members });
          add.input.value = '';
        },
      }));
    put(ends,
      el('button', { type: 'button', className: 'danger', onclick: () => end('leave_group', t('leave_sure', { name: group.name }), t('leave')) }, t('leave')),
      role === 'owner' && el('button', { type: 'button', className: 'danger', onclick: () => end('dissolve_group', t('dissolve_sure', { name: group.name }), t('dissolve')) }, t('dissolve')));
  };

  const roles = { owner: t('owner'), admin: t('admin'), member: '' };
  const unsubscribe = engine.store.subscribe((state) => {
    const members = state.members.get(id) ?? [];
    const role = members.find((member) => member.user_id === me)?.role ?? 'member';
    drawBody(role);
    list(people, members, (member) => `${member.user_id}:${member.role}:${role}`, (member, old) => {
      if (old) return old;
      const user = member.user_id;
      const above = user !== me && (role === 'owner' || (role === 'admin' && member.role === 'member'));
      /** @type {{label: string, act: () => void, danger?: boolean}[]} */
      const items = [];
      if (role === 'owner') {
        items.push(member.role === 'admin'
          ? { label: t('make_member'), act: () => void act('set_role', { user_id: user, role: 'member' }) }
          : { label: t('make_admin'), act: () => void act('set_role', { user_id: user, role: 'admin' }) });
        items.push({ label: t('transfer'), act: async () => {
          if (await sure(t('transfer_sure', { user }), t('transfer'))) await act('transfer_group', { user_id: user });
        } });
      }
      items.push({ label: t('remove'), danger: true, act: async () => {
        if (await sure(t('remove_sure', { user }), t('remove'))) await act('remove_member', { user_id: user });
      } });
      return el('li', {}, avatar(`u:${user}`, user),
        el('span', { dir: 'auto', className: 'person' }, user, user === me ? ` (${t('mine')})` : ''),
        el('span', { className: 'quiet' }, roles[member.role]),
        above && iconButton('more', t('more'), (event) => menu(/** @type {HTMLElement} */ (event.currentTarget), items), { 'aria-haspopup': 'menu' }));
    });
  });
  box.addEventListener('close', () => unsubscribe());
  engine.loadMembers(id).catch((error) => toast(reason(error)));
}
