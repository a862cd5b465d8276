#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's Debian packages in a root of each release: built, checked by lintian,
installed, upgraded, removed and purged, with real kernels, DKMS and initramfs-tools.

The roots are made by scripts/packaging-root.sh. It takes root, for chroot.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = os.path.dirname(TESTS)
sys.path[:0] = [os.path.join(TESTS, 'avocado')]

from fadump_test import build, main

DKMS, TOOLS = 'fadump-virtio-dkms', 'fadump-tools'

# Of a system that runs; and what dpkg, apt and others keep of what was there.
_NOT_OURS = re.compile(
    r'^/(proc|sys|dev|run|tmp|root|home|usr/src/linux-[^/]*'
    r'|var/(cache|log|lib/(apt|dpkg|ucf|systemd|dkms/mok'
    r'|initramfs-tools|kdump|grub))|boot|usr/share/man|etc/(ld.so.cache|\.pwd.lock)'
    r'|lib/modules/[^/]+/modules\.|usr/lib/modules/[^/]+/modules\.)')


@unittest.skipUnless(os.geteuid() == 0, 'chroot takes root')
class Packaging(unittest.TestCase):
    suite = None
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        if cls.suite is None:
            raise unittest.SkipTest('of no release')
        tar = subprocess.run(
            [os.path.join(TOP, 'scripts', 'packaging-root.sh'), cls.suite],
            check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
        cls.root = tempfile.mkdtemp(prefix=f'packaging-{cls.suite}-', dir=build.BUILD)
        cls.addClassCleanup(shutil.rmtree, cls.root)
        subprocess.run(['tar', '-C', cls.root, '--numeric-owner', '-xf', tar],
                       check=True)
        os.makedirs(os.path.join(cls.root, 'dev/pts'), exist_ok=True)
        for kind, at in (('proc', 'proc'), ('tmpfs', 'run'), ('tmpfs', 'tmp'),
                         ('devpts', 'dev/pts')):
            subprocess.run(['mount', '-t', kind, kind, os.path.join(cls.root, at)],
                           check=True)
            cls.addClassCleanup(subprocess.run,
                                ['umount', '-l', os.path.join(cls.root, at)],
                                check=False)
        for name in ('null', 'zero', 'urandom', 'random', 'tty'):
            path = os.path.join(cls.root, 'dev', name)
            if not os.path.exists(path):
                subprocess.run(['cp', '-a', '/dev/' + name, path], check=True)
        if not os.path.lexists(os.path.join(cls.root, 'dev/ptmx')):
            os.symlink('pts/ptmx', os.path.join(cls.root, 'dev/ptmx'))
        # None but what hooks ask for: quicker, and ours shows.
        cls.write('etc/initramfs-tools/conf.d/quick', 'MODULES=list\n')
        # Nothing is started.
        cls.write('usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', 0o755)
        shutil.copytree(os.path.join(TOP, 'guest'),
                        os.path.join(cls.root, 'root', 'fadump-virtio'))

    # ---- helpers ----

    @classmethod
    def write(cls, name, text, mode=0o644):
        path = os.path.join(cls.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(path, mode)

    def run_in(self, command, check=True):
        """A shell's command in the root; status and output."""
        proc = subprocess.run(
            ['chroot', self.root, '/bin/sh', '-c', command], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            stdin=subprocess.DEVNULL, errors='replace',
            env={'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'HOME': '/root',
                 'LC_ALL': 'C.UTF-8', 'DEBIAN_FRONTEND': 'noninteractive',
                 'DEBCONF_NONINTERACTIVE_SEEN': 'true', 'TERM': 'dumb'})
        with open(os.path.join(build.BUILD, f'packaging-{self.suite}.log'), 'a',
                  encoding='utf-8') as f:
            f.write(f'+ {command}\n{proc.stdout}')
        if check and proc.returncode:
            self.fail(f'{command}: status {proc.returncode}\n{proc.stdout[-6000:]}')
        return proc.returncode, proc.stdout

    def out(self, command):
        return self.run_in(command)[1].strip()

    def glob(self, pattern):
        return sorted(glob.glob(os.path.join(self.root, pattern)))

    def exists(self, name):
        return os.path.lexists(os.path.join(self.root, name))

    def kernels(self):
        return [os.path.basename(d) for d in self.glob('lib/modules/*')
                if os.path.isdir(os.path.join(d, 'kernel'))]

    def install(self, *debs):
        return self.out('apt-get -q -y --allow-downgrades install ' +
                        ' '.join(debs))

    def initramfs(self, kernel):
        return self.out(f'lsinitramfs /boot/initrd.img-{kernel}').split()

    def assert_in_initramfs(self, kernel):
        """Both modules, and what loads them before udev looks for others."""
        files = self.initramfs(kernel)
        for name in (r'fadump\.ko', r'fadump-virtio\.ko'):
            self.assertTrue([f for f in files if re.search(f'/{name}', f)],
                            f'{kernel}: no {name}')
        self.out(f'rm -rf /tmp/i && mkdir /tmp/i && unmkinitramfs '
                 f'/boot/initrd.img-{kernel} /tmp/i')
        order = self.out('cat /tmp/i/scripts/init-top/ORDER '
                         '/tmp/i/main/scripts/init-top/ORDER 2>/dev/null || :')
        scripts = re.findall(r'^/scripts/init-top/(\S+)', order, re.M)
        self.assertLess(scripts.index('fadump-virtio'), scripts.index('udev'))

    def assert_not_in_initramfs(self, kernel):
        self.assertEqual([f for f in self.initramfs(kernel) if 'fadump' in f], [])

    def modules(self, kernel):
        return sorted(os.path.basename(f).partition('.')[0] for f in
                self.glob(f'lib/modules/{kernel}/updates/dkms/fadump*'))

    def files(self):
        found = set()
        for parent, dirs, names in os.walk(self.root):
            for name in dirs + names:
                path = os.path.join(parent, name)[len(self.root):]
                if not _NOT_OURS.match(path):
                    found.add(path)
            dirs[:] = [d for d in dirs if not _NOT_OURS.match(
                os.path.join(parent, d)[len(self.root):])
                and not os.path.islink(os.path.join(parent, d))]
        return found

    def held(self, there):
        """What the maintainer scripts look at; whether a real dump survives them is
        for a guest to show."""
        fadump = os.path.join(self.root, 'sys/kernel/fadump')
        shutil.rmtree(fadump, ignore_errors=True)
        if there is not None:
            self.write('sys/kernel/fadump/registered', '0\n' if there else '1\n')
        if there:
            self.write('sys/kernel/fadump/release_mem', '')

    # ---- one life of the packages, step by step ----

    def build_packages(self):
        self.out('cd /root/fadump-virtio && dpkg-buildpackage -us -uc')
        # Again, with a later version
        self.out('cd /root && cp -r fadump-virtio later && cd later && '
                 "sed -i '1s/(0.1.0)/(0.1.1)/' debian/changelog && "
                 'dpkg-buildpackage -b -us -uc')
        self.debs = [f'/root/{DKMS}_0.1.0_all.deb', f'/root/{TOOLS}_0.1.0_all.deb']
        self.later = [f'/root/{DKMS}_0.1.1_all.deb', f'/root/{TOOLS}_0.1.1_all.deb']

    def check_lintian(self):
        told = self.out('useradd -m lint; cp /root/fadump-* /home/lint/ 2>/dev/null; '
                        'cp -r /root/*.dsc /root/*.tar.* /home/lint/; '
                        'chown -R lint /home/lint; su lint -c "cd && lintian '
                        '--fail-on error,warning --no-tag-display-limit '
                        'fadump-virtio_0.1.0_*.changes"')
        self.assertNotRegex(told, r'(?m)^[EW]:')

    def check_install(self):
        told = self.install(*self.debs)
        self.assertEqual(len(self.kernels()), 1)
        for kernel in self.kernels():
            self.assertEqual(self.modules(kernel), ['fadump', 'fadump-virtio'])
            self.assert_in_initramfs(kernel)
            alias = self.out(f'modinfo -k {kernel} -F alias fadump_virtio')
            self.assertEqual(alias, 'virtio:d0000003Bv*')
            self.assertIn('fadump', self.out(
                f'modinfo -k {kernel} -F depends fadump_virtio'))
        self.assertNotIn('crashkernel', told)
        # As autopkgtest would run it
        self.out('/root/fadump-virtio/debian/tests/installed')
        status, told = self.run_in('fadump-config status', check=False)
        self.assertEqual(status, 1)
        self.assertIn('this machine has no fadump device', told)
        self.assertEqual(self.out('run-parts /etc/update-motd.d | grep -i dump || :'),
                         '')

    def check_kernel_upgrade(self):
        """A kernel that comes later is built for, and has it in its initramfs."""
        before = self.kernels()
        debs = [f for f in self.glob('root/debs/linux-*.deb')]
        self.assertTrue(debs)
        self.install(*('/root/debs/' + os.path.basename(d) for d in debs))
        new = sorted(set(self.kernels()) - set(before))
        self.assertEqual(len(new), 1)
        self.assertEqual(self.modules(new[0]), ['fadump', 'fadump-virtio'])
        self.assert_in_initramfs(new[0])

    def check_upgrade(self):
        self.install(*self.later)
        for kernel in self.kernels():
            self.assertEqual(self.modules(kernel), ['fadump', 'fadump-virtio'])
            self.assert_in_initramfs(kernel)
        states = self.out('dkms status fadump-virtio 2>/dev/null').splitlines()
        self.assertEqual(len(states), len(self.kernels()), states)
        for state in states:
            self.assertRegex(state, r'fadump-virtio/0\.1\.1.*installed')
        self.assertFalse(self.exists('usr/src/fadump-virtio-0.1.0'))

    def grub_cmdline(self):
        return self.out(
            'GRUB_CMDLINE_LINUX_DEFAULT="quiet crashkernel=64M"; '
            'for f in /etc/default/grub.d/*.cfg; do . "$f"; done; '
            'echo "$GRUB_CMDLINE_LINUX_DEFAULT"')

    def check_kdump_tools(self):
        """Installed after ours: its crashkernel= is named, and taken out with
        consent; what the administrator has written is not."""
        self.install(*('/root/debs/' + os.path.basename(d)
                       for d in self.glob('root/debs/kdump-tools_*.deb')))
        added = re.search(r'crashkernel=\S+M-:\d+M', self.grub_cmdline())[0]
        told = self.out(f'dpkg-reconfigure {TOOLS} 2>&1')
        self.assertIn(f'kdump-tools adds {added}', told)
        self.out(f'echo {TOOLS} fadump-tools/remove-crashkernel boolean true | '
                 f'debconf-set-selections && dpkg-reconfigure {TOOLS}')
        self.assertEqual(self.grub_cmdline(), 'quiet crashkernel=64M')
        # Reinstalled, it is the same.
        self.install('--reinstall', self.later[1])
        self.assertEqual(self.grub_cmdline(), 'quiet crashkernel=64M')
        shown = self.out('systemd-analyze verify kdump-tools.service || :; '
                         'cat /usr/lib/systemd/system/kdump-tools.service.d/*.conf')
        self.assertNotIn('ordering cycle', shown)

    def check_held(self):
        """Nobody removes the driver of a dump that is held by accident."""
        self.held(True)
        for command in (f'apt-get -q -y remove {DKMS}', f'apt-get -q -y purge {DKMS}'):
            status, told = self.run_in(command, check=False)
            self.assertNotEqual(status, 0)
            self.assertIn('not removed, as the dump of a crash is held', told)
            for kernel in self.kernels():
                self.assertEqual(self.modules(kernel), ['fadump', 'fadump-virtio'])
        self.out('dpkg --configure -a')
        # An upgrade does not touch what is loaded.
        told = self.install('--reinstall', *self.later)
        self.assertIn('a dump of a crash is held', told)
        self.assertEqual(self.out('cat /sys/kernel/fadump/release_mem'), '')
        # The tools may go; that is said.
        told = self.out(f'apt-get -q -y remove {TOOLS}')
        self.assertIn('a dump of a crash is held, and nothing saves it', told)
        self.assertEqual(self.out('cat /sys/kernel/fadump/release_mem'), '')
        self.install(self.later[1])
        # With consent
        self.out(f'echo {DKMS} {DKMS}/remove-while-held boolean true | '
                 'debconf-set-selections')
        told = self.out(f'apt-get -q -y remove {DKMS}')
        self.assertIn('removed while a dump is held', told)
        self.held(False)
        self.install(*self.later)

    def check_remove(self):
        self.held(False)
        told = self.out(f'apt-get -q -y remove {DKMS} {TOOLS}')
        self.assertIn('crashes are captured no more', told)
        self.assertEqual(self.out('cat /sys/kernel/fadump/registered'), '0')
        for kernel in self.kernels():
            self.assertEqual(self.modules(kernel), [])
            self.assert_not_in_initramfs(kernel)
        # kdump-tools has its crashkernel= back.
        self.assertIn('crashkernel=64M crashkernel=', self.grub_cmdline())
        self.assertTrue(self.exists('etc/default/fadump-tools'))

    def check_purge(self, before):
        self.held(None)
        self.out(f'apt-get -q -y purge {DKMS} {TOOLS}; apt-get -q -y purge kdump-tools')
        self.assertEqual(self.out(
            "dpkg-query -W -f '${Package} ${db:Status-Status}\\n' | grep fadump || :"), '')
        self.assertEqual(sorted(f for f in self.files() - before
                                if 'fadump' in f), [])

    def life(self):
        os.makedirs(os.path.join(self.root, 'var/crash/20260101000000-x'),
                    exist_ok=True)
        before = self.files()
        for name, step in (
                ('build', self.build_packages), ('lintian', self.check_lintian),
                ('install', self.check_install),
                ('kernel upgrade', self.check_kernel_upgrade),
                ('upgrade', self.check_upgrade),
                ('kdump-tools', self.check_kdump_tools),
                ('held', self.check_held), ('remove', self.check_remove),
                ('purge', lambda: self.check_purge(before))):
            print(f'# {self.suite}: {name}', file=sys.stderr, flush=True)
            step()
        # Dumps are the user's.
        self.assertTrue(self.exists('var/crash/20260101000000-x'))


class Bookworm(Packaging):
    suite = 'bookworm'

    def test_life(self):
        self.life()


class Trixie(Packaging):
    suite = 'trixie'

    def test_life(self):
        self.life()


if __name__ == '__main__':
    main()
