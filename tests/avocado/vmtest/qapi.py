# SPDX-License-Identifier: GPL-2.0-or-later
"""Does what QEMU says match the schema that it gives of itself?"""


class Mismatch(AssertionError):
    """Something that the schema does not have, or has otherwise."""


class Schema:
    """entities: what query-qmp-schema answers."""

    _JSON = {'string': str, 'boolean': bool, 'object': dict, 'array': list,
             'null': type(None), 'number': (int, float), 'int': int}

    def __init__(self, entities):
        self.entities = {e['name']: e for e in entities}

    def command(self, name):
        return self._entity(name, 'command')

    def event(self, name):
        return self._entity(name, 'event')

    def _entity(self, name, kind):
        entity = self.entities.get(name)
        if not entity or entity['meta-type'] != kind:
            raise Mismatch(f'{name} is no {kind} of this QEMU')
        return entity

    def check_answer(self, command, value):
        self._check(self.command(command)['ret-type'], value, command)

    def check_event(self, event):
        """event: the whole message."""
        self._check(self.event(event['event'])['arg-type'],
                    event.get('data', {}), event['event'])

    def _check(self, name, value, where):
        entity = self.entities[name]
        getattr(self, '_check_' + entity['meta-type'])(entity, value, where)

    def _check_builtin(self, entity, value, where):
        kind = entity['json-type']
        if kind == 'value':
            return
        if (not isinstance(value, self._JSON[kind]) or
                (isinstance(value, bool) and kind != 'boolean')):
            raise Mismatch(f'{where}: {value!r} is no {kind}')

    def _check_enum(self, entity, value, where):
        values = [m['name'] for m in entity['members']]
        if value not in values:
            raise Mismatch(f'{where}: {value!r} is none of {values}')

    def _check_array(self, entity, value, where):
        if not isinstance(value, list):
            raise Mismatch(f'{where}: {value!r} is no array')
        for i, element in enumerate(value):
            self._check(entity['element-type'], element, f'{where}[{i}]')

    def _check_alternate(self, entity, value, where):
        for member in entity['members']:
            try:
                return self._check(member['type'], value, where)
            except Mismatch:
                continue
        raise Mismatch(f'{where}: {value!r} is none of its alternatives')

    def _check_object(self, entity, value, where):
        if not isinstance(value, dict):
            raise Mismatch(f'{where}: {value!r} is no object')
        members = list(entity['members'])
        if 'tag' in entity:
            for variant in entity['variants']:
                if variant['case'] == value.get(entity['tag']):
                    members += self.entities[variant['type']]['members']
        known = {m['name']: m for m in members}
        if set(value) - set(known):
            raise Mismatch(f'{where}: unknown {set(value) - set(known)}')
        for key, member in known.items():
            if key in value:
                self._check(member['type'], value[key], f'{where}.{key}')
            elif 'default' not in member:
                raise Mismatch(f'{where}: {key} is missing')
