#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An installed Debian with our packages, on a disk, by GRUB: it crashes, and is
back in production with its dump saved, by nobody's hand.

The images are those of scripts/distro-image.sh. Each case takes minutes.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import (FadumpTest, GIB, MIB, VMCORE, build,
                         full_only, main)
from vmtest.distro import DistroGuest
from vmtest.preserved import Preserved

# A save may take a minute where nothing else runs.
SAVE_TIMEOUT = 600 * build.TIMEOUT_SCALE
LARGE = 1200 * MIB

# What an out-of-tree module brings with it, and nothing else
TAINT_OUT_OF_TREE = 1 << 12
TAINT_UNSIGNED = 1 << 13


class DistroTest(FadumpTest):
    """What the cases have in common."""

    def new_distro(self, name, **options):
        image = build.DistroImage(name)
        self._guests += 1
        guest = DistroGuest(os.path.join(self._logs, f'guest{self._guests}'),
                            image=image, vcpus=options.pop('vcpus', 2),
                            memory=options.pop('memory', '2G'), **options)
        self.addCleanup(guest.close)
        return guest

    def distro(self, name, **options):
        """A guest in production, at its login prompt, ready for a crash."""
        guest = self.new_distro(name, **options).boot()
        self.assert_healthy(guest)
        self.assert_registered(guest)
        return guest

    def assert_healthy(self, guest):
        state = guest.wait_settled()
        if state != 'running':
            said = guest.cmd('systemctl --failed --no-legend --plain; '
                             'journalctl -b -p warning --no-pager')
            raise guest.trouble(f'the system is {state}:\n{said}')
        # systemd leaves out what it likes then.
        self.assertEqual(guest.cmd('journalctl -b -o cat | grep "ordering cycle" || '
                                   ':'), '')
        # what kdump-tools says in its own initramfs script
        self.assert_quiet(guest, allow=['WARNING: kdump-sysctl needs'])
        taint = int(guest.cmd('cat /proc/sys/kernel/tainted'))
        self.assertEqual(taint & ~(TAINT_OUT_OF_TREE | TAINT_UNSIGNED), 0,
                         f'the kernel is tainted: {taint:#x}')

    def assert_production(self, guest, units, mem_total):
        """As before the crash: each unit that ran runs, all memory is there,
        and the next crash is captured."""
        guest.wait_for('the release', lambda: not guest.exists(VMCORE),
                       SAVE_TIMEOUT)
        guest.wait_login()
        guest.wait_for('the release of all memory', lambda: guest.mem_total() >=
                       mem_total * 0.99, SAVE_TIMEOUT)
        self.assert_healthy(guest)
        # What udev starts with a device comes when that is found.
        deadline = time.monotonic() + 60 * build.TIMEOUT_SCALE
        while units - guest.units() and time.monotonic() < deadline:
            time.sleep(1)
        self.assertEqual(units - guest.units(), set(),
                         'what ran before the crash does not run')
        self.assert_released(guest, mem_total)

    def crash_once(self, guest):
        """A crash, one reboot, all as before, and one dump."""
        units, mem_total = guest.units(), guest.mem_total()
        guest.cmd('sync')
        guest.crash()
        self.assert_production(guest, units, mem_total)
        self.assertEqual(len(guest.boots), 2, 'more than one reboot')
        self.assert_dump(guest)

    def assert_dump(self, guest, number=1):
        """So many dumps are in /var/crash; the newest one's directory, and the
        file that crash opens."""
        dumps = guest.dumps()
        self.assertEqual(len(dumps), number, dumps)
        directory = max(dumps)
        files = dumps[directory]
        cores = [f for f in files if re.match(r'(dump|vmcore)', f)]
        self.assertEqual(len(cores), 1, files)
        self.assertTrue([f for f in files if f.startswith('dmesg')], files)
        return f'/var/crash/{directory}', cores[0]

    def with_disk(self, guest, command):
        """Run it while the test's disk, of those with no partitions, is /mnt."""
        guest.cmd('device=$(for d in /dev/vd?; do '
                  'blkid -p -o value -s USAGE $d | grep -qx filesystem && '
                  'echo $d; done); mount -t ext4 $device /mnt && '
                  f'{command} && umount /mnt', timeout=SAVE_TIMEOUT)

    def assert_crash_opens(self, guest, disk):
        """crash(8) on the host finds the task that died in the dump."""
        directory, core = self.assert_dump(guest)
        self.with_disk(guest, f'cp {directory}/{core} /mnt/dump')
        dump = self.fetch_dump(disk, 'dump')
        said = self.crash_session(guest.kernel, dump, 'sys', 'bt')
        self.assertIn(guest.kernel.release, said[0])
        self.assertRegex(said[0], r'PANIC: .*sysrq triggered crash')
        self.assertIn('write_sysrq_trigger', said[1])

    def assert_started_after(self, guest, service):
        """The service was not started in boot memory: its start came after
        the last memory was back, by the kernel's clock."""
        started = int(guest.cmd('systemctl show -P '
                                f'ExecMainStartTimestampMonotonic {service}'))
        released = re.findall(r'\[ *([\d.]+)\] fadump: released: ',
                              guest.console(guest.boots[-1].console_start))
        self.assertTrue(released, 'nothing was released')
        self.assertGreater(started / 1e6, float(released[-1]),
                           f'{service} was started before the release')


class Distro(DistroTest):

    def round(self, name, **options):
        """The whole story, with a service that boot memory could not hold."""
        disk = self.disk(size='2G')
        guest = self.distro(name, disks=[disk], **options)
        guest.add_service('large', megabytes=LARGE // MIB)
        # It has been started by hand; the rest is as a boot leaves it.
        before, mem_total = guest.units(), guest.mem_total()
        self.assertIn('large.service', before)
        guest.wait_for('1.2 GB in memory',
                       lambda: guest.main_rss('large') >= LARGE)
        guest.cmd('sync')

        guest.crash()
        self.assert_production(guest, before, mem_total)
        self.assertEqual(len(guest.boots), 2, 'more than one reboot')
        guest.wait_for('1.2 GB in memory, again',
                       lambda: guest.main_rss('large') >= LARGE)
        self.assert_started_after(guest, 'large')
        self.assertEqual(guest.qmp.count('FADUMP_CAPTURED'), 1)
        self.assertEqual(guest.qmp.count('FADUMP_FAILED'), 0)
        self.assert_crash_opens(guest, disk)
        return guest

    @full_only
    def test_bookworm(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub,firmware:seabios
        """
        self.round('bookworm')

    @full_only
    def test_bookworm_uefi(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub,firmware:ovmf
        """
        self.round('bookworm', uefi='bookworm')

    @full_only
    def test_bookworm_8_vcpus(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub,vcpus:8
        """
        self.round('bookworm', vcpus=8, memory='3G')

    @full_only
    def test_bookworm_6_12(self):
        """
        :avocado: tags=machine:q35,kernel:6.12,boot:grub
        """
        self.round('bookworm-6.12')

    @full_only
    def test_trixie(self):
        """
        :avocado: tags=machine:q35,kernel:6.12,boot:grub,distro:trixie
        """
        self.round('trixie')

    @full_only
    def test_trixie_uefi(self):
        """
        :avocado: tags=machine:q35,kernel:6.12,boot:grub,firmware:ovmf
        """
        self.round('trixie', uefi='trixie')

    @full_only
    def test_trixie_7(self):
        """
        :avocado: tags=machine:q35,kernel:7,boot:grub,distro:trixie
        """
        self.round('trixie-7')


class DistroKdumpTools(DistroTest):
    """Debian's kdump-tools is installed as well, unmodified."""

    def crash(self, guest):
        """Wait until all is as before, and say how often it was booted."""
        units, mem_total = guest.units(), guest.mem_total()
        self.assertEqual(guest.cmd('cat /sys/kernel/kexec_crash_loaded'), '0',
                         'a kdump kernel is loaded')
        guest.cmd('sync')
        guest.crash_begins()
        guest.send('echo c > /proc/sysrq-trigger')
        guest.wait_production(units, mem_total)
        self.assert_production(guest, units, mem_total)
        self.assert_dump(guest)
        self.assertIn('ready to fadump', guest.cmd('kdump-config status'))
        return guest.timeline.count(r'\] Linux version ')

    @full_only
    def test_beside(self):
        """Ours saves, and kdump-tools registers after it.

        :avocado: tags=machine:q35,kernel:6.1,boot:grub
        """
        self.assertEqual(self.crash(self.distro('bookworm-kdump')), 1)

    @full_only
    def test_driver_only(self):
        """kdump-tools saves, and reboots: that is the release.

        :avocado: tags=machine:q35,kernel:6.1,boot:grub
        """
        guest = self.distro('bookworm-driver-kdump')
        self.assertLessEqual(self.crash(guest), 2)


class DistroFullDisk(DistroTest):

    @full_only
    def test_full_disk(self):
        """No room for the dump: it stays where it is, the message says what is
        wrong, and once there is room it is saved, by a restart of the unit.

        :avocado: tags=machine:q35,kernel:6.1,boot:grub
        """
        guest = self.distro('bookworm')
        mem_total = guest.mem_total()
        units = guest.units()
        # All but what a boot needs itself
        guest.cmd("free=$(df -Pk /var | awk 'END {print $4}'); "
                  'fallocate -l $((free - 20480))k /fill && sync')

        guest.crash()
        guest.wait_login()
        guest.wait_settled()
        self.assertTrue(guest.exists(VMCORE), 'the dump was released unsaved')
        self.assertEqual([f for files in guest.dumps().values() for f in files
                          if re.match(r'(dump|vmcore)(?!.*incomplete)', f)], [])
        self.assertIn('fadump', guest.failed_units())
        said = guest.cmd('journalctl -b --no-pager -u fadump-save')
        self.assertRegex(said, r'(?i)(no space|free)')
        # Who logs in is told.
        self.assertIn('holds the dump of a crash', guest.console(
            guest.boots[-1].console_start))

        guest.cmd('rm /fill && systemctl restart fadump-save',
                  timeout=SAVE_TIMEOUT)
        self.assert_production(guest, units, mem_total)
        self.assert_dump(guest)


class DistroOtherDisks(DistroTest):
    """The dump goes to the root; the boot after the crash waits for no other file
    system before it is saved."""

    @full_only
    def test_missing(self):
        """One cannot be mounted, and systemd gives up, but not the save.

        :avocado: tags=machine:q35,kernel:6.1,boot:grub
        """
        guest = self.distro('bookworm')
        units, mem_total = guest.units(), guest.mem_total()
        # Soon, so that it is in the middle of the save
        guest.cmd("echo 'LABEL=none /data ext4 x-systemd.device-timeout=5s 0 2' "
                  '>>/etc/fstab && sync')
        guest.crash()
        guest.wait_for('the emergency', lambda: 'emergency mode' in guest.console(
            guest.boots[-1].console_start), SAVE_TIMEOUT)
        # Others have more time than in other boots.
        self.assertEqual(guest.cmd('systemctl show -P JobRunningTimeoutUSec '
                                   'dev-ttyS0.device'), '5min')
        guest.wait_for('the release', lambda: not guest.exists(VMCORE),
                       SAVE_TIMEOUT)
        self.assert_dump(guest)
        guest.wait_for('all memory',
                       lambda: guest.mem_total() >= mem_total * 0.99)
        self.assertNotEqual(units - guest.units(), set(), 'no emergency')

        guest.cmd("sed -i '/^LABEL=none/d' /etc/fstab")
        guest.send('systemctl reboot')
        guest.wait_boot()
        self.assert_production(guest, units, mem_total)

    @full_only
    def test_encrypted(self):
        """The key slot of one takes more memory than there is.

        :avocado: tags=machine:q35,kernel:6.1,boot:grub
        """
        guest = self.distro('bookworm-luks', disks=[self.disk('data', '64M', ext4=False)])
        device = '/dev/' + guest.cmd('lsblk -dnbo NAME,SIZE | '
                                     f"awk '$2 == {64 * MIB} {{ print $1 }}'")
        guest.cmd('mkdir -m 700 /etc/keys && head -c 32 /dev/urandom '
                  '> /etc/keys/data.key && cryptsetup luksFormat -q --type luks2 '
                  '--pbkdf argon2id --pbkdf-memory 716800 --pbkdf-force-iterations 4 '
                  f'--pbkdf-parallel 1 {device} /etc/keys/data.key && '
                  f'cryptsetup open -d /etc/keys/data.key {device} data && '
                  'mkfs.ext4 -q /dev/mapper/data && mkdir /data && '
                  'mount /dev/mapper/data /data && echo kept > /data/file',
                  timeout=SAVE_TIMEOUT)
        guest.cmd(f'echo data {device} /etc/keys/data.key luks >>/etc/crypttab && '
                  "echo '/dev/mapper/data /data ext4 defaults 0 2' >>/etc/fstab && "
                  'systemctl daemon-reload')
        self.assertEqual(guest.qmp.cmd('query-fadump')['boot-mem'], 512 * MIB)
        self.crash_once(guest)
        self.assertEqual(guest.cmd('cat /data/file'), 'kept')


class SecureBootTest(DistroTest):
    """Firmware takes what Microsoft has signed, shim what Debian has, and the
    kernel a module whose key was enrolled."""

    def secure_boot(self, mok):
        """What new_distro() takes for it."""
        variables = self.path('variables.fd')
        build.secure_boot_variables('bookworm', variables, mok)
        return {'uefi': 'bookworm', 'smm': True, 'variables': variables}

    def dkms_key(self):
        """The certificate of the key that DKMS made when the image was made."""
        key = self.path('mok.pub')
        build.DistroImage('bookworm').get('var/lib/dkms/mok.pub', key)
        return key


class DistroSecureBoot(SecureBootTest):

    def boot_secure(self, mok):
        guest = self.new_distro('bookworm', **self.secure_boot(mok)).boot()
        self.assertIn('SecureBoot enabled', guest.cmd('mokutil --sb-state'))
        self.assertIn('[integrity]',
                      guest.cmd('cat /sys/kernel/security/lockdown'))
        return guest

    @full_only
    def test_enrolled(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub,firmware:ovmf
        """
        guest = self.boot_secure(self.dkms_key())
        self.assert_healthy(guest)
        self.assert_registered(guest)
        self.assertIn('would be captured', guest.cmd('fadump-config test'))
        self.crash_once(guest)

    @full_only
    def test_not_enrolled(self):
        """Nobody is left to believe that a crash would be captured.

        :avocado: tags=machine:q35,kernel:6.1,boot:grub,firmware:ovmf
        """
        guest = self.boot_secure(None)
        guest.wait_settled()
        self.assertIn('fadump-driver.service', guest.failed_units())
        console = guest.console(guest.boots[-1].console_start)
        self.assertIn('no crash of this system is captured', console)
        self.assertIn('mokutil --import /var/lib/dkms/mok.pub', console)
        status, said = guest.run('fadump-config test')
        self.assertNotEqual(status, 0)
        self.assertIn('would NOT be captured', said.decode())
        self.assertIn('No crash of this system is captured', guest.cmd(
            'run-parts /etc/update-motd.d'))


class LuksTest(DistroTest):
    """The root is a LUKS2 volume, whose key slot takes 512 MiB to open."""

    SLOT = 512 * MIB
    # and what an initramfs takes
    NEED = SLOT + 384 * MIB
    IMAGE = 'bookworm-luks'

    def encrypted(self):
        """A disk to which the system of the image has moved, with its /boot
        beside the encrypted root."""
        disk = self.disk('luks', size='6G', ext4=False)
        guest = self.new_distro(self.IMAGE, disks=[disk]).boot()

        def run(command):
            return guest.cmd(command, timeout=SAVE_TIMEOUT)
        device = '/dev/' + run('lsblk -dnbo NAME,SIZE | '
                               f"awk '$2 == {6 * GIB} {{ print $1 }}'")
        run(r"printf 'label: gpt\nsize=1MiB, type=21686148-6449-6E6F-744E-"
            r"656564454649\nsize=400MiB\ntype=linux\n' | "
            f'sfdisk -q {device} && udevadm settle')
        run('mkdir -m 700 /etc/keys && dd if=/dev/urandom bs=32 count=1 '
            'of=/etc/keys/root.key 2>&1')
        run('cryptsetup luksFormat -q --type luks2 --pbkdf argon2id '
            f'--pbkdf-memory {self.SLOT >> 10} --pbkdf-force-iterations 4 '
            f'--pbkdf-parallel 1 {device}3 /etc/keys/root.key')
        run(f'cryptsetup open -d /etc/keys/root.key {device}3 root && '
            f'mkfs.ext4 -q /dev/mapper/root && mkfs.ext4 -q {device}2')
        run('mount /dev/mapper/root /mnt && mkdir /mnt/boot && '
            f'mount {device}2 /mnt/boot')
        run('cd / && tar --one-file-system -cf - . | tar -C /mnt -xpf -')
        boot, root = (run(f'blkid -o value -s UUID {device}{n}')
                      for n in (2, 3))
        guest.write_file('/mnt/etc/fstab',
                         '/dev/mapper/root / ext4 errors=remount-ro 0 1\n'
                         f'UUID={boot} /boot ext4 defaults 0 2\n')
        guest.write_file('/mnt/etc/crypttab', f'root UUID={root} '
                         '/etc/keys/root.key luks,initramfs\n')
        # A key that is in the initramfs: nobody is there to type one.
        run("echo 'KEYFILE_PATTERN=/etc/keys/*.key' "
            '>> /mnt/etc/cryptsetup-initramfs/conf-hook && '
            'echo UMASK=0077 >> /mnt/etc/initramfs-tools/initramfs.conf')
        run('for d in dev proc sys run; do mount --rbind /$d /mnt/$d; done && '
            "chroot /mnt sh -c 'update-initramfs -u && "
            f"grub-install {device} && update-grub' 2>&1")
        run('sync && umount -l /mnt/dev /mnt/proc /mnt/sys /mnt/run && '
            'umount /mnt/boot && umount /mnt && cryptsetup close root')
        guest.close()
        return disk.path


class DistroLuks(LuksTest):

    @full_only
    def test_luks(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub
        """
        disk = self.encrypted()
        guest = self.distro(self.IMAGE, disk=disk, memory='4G')
        self.assertEqual(guest.cmd('findmnt -no SOURCE /'), '/dev/mapper/root')
        self.assertEqual(guest.qmp.cmd('query-fadump')['boot-mem'], self.NEED)
        self.assertIn('LUKS volume of the root and of TARGET can be opened',
                      guest.cmd('fadump-config test'))
        self.crash_once(guest)
        guest.close()

        # Here the host allows no more than the default.
        guest = self.distro(self.IMAGE, disk=disk, memory='2G')
        said = guest.run('fadump-config test')[1].decode()
        self.assertIn(f"takes {self.NEED // MIB} MiB of boot memory to open, "
                      'and 512 MiB are granted', said)


class DistroTargets(DistroTest):
    """The dump goes to another machine, a Debian with the servers of Debian's."""

    NGINX = ('server { listen 80; root /srv/http; dav_methods PUT DELETE; '
             'create_full_put_path on; client_max_body_size 0; }\n')

    def setUp(self):
        self.links = tempfile.mkdtemp(prefix='fadump-')
        self.addCleanup(shutil.rmtree, self.links)

    def linked(self, number, **options):
        """Guest 1 or 2 of a network of their own, 192.168.77.0/24."""
        mine, other = (os.path.join(self.links, str(n))
                       for n in (number, 3 - number))
        mac = f'52:54:00:00:77:0{number}'
        guest = self.new_distro('bookworm-remote', args=(
            '-netdev', 'dgram,id=link,local.type=unix,remote.type=unix,'
            f'local.path={mine},remote.path={other}',
            '-device', f'virtio-net-pci,netdev=link,mac={mac}'), **options)
        guest.boot()
        guest.write_file('/etc/systemd/network/70-link.network',
                         f'[Match]\nMACAddress={mac}\n[Network]\n'
                         f'Address=192.168.77.{number}/24\n'
                         'LinkLocalAddressing=no\n')
        guest.cmd('networkctl reload')
        return guest

    def serve(self, guest, key):
        """ssh, NFS and HTTP, each with a directory below /srv."""
        guest.cmd('mkdir -p /srv/ssh /srv/nfs /srv/http /root/.ssh && '
                  f"echo '{key}' > /root/.ssh/authorized_keys && "
                  'chown www-data: /srv/http')
        guest.cmd("echo '/srv/nfs 192.168.77.0/24(rw,sync,no_root_squash,"
                  "no_subtree_check)' > /etc/exports && "
                  'systemctl restart nfs-server', timeout=SAVE_TIMEOUT)
        guest.write_file('/etc/nginx/sites-enabled/default', self.NGINX)
        guest.cmd('systemctl restart nginx', timeout=SAVE_TIMEOUT)

    def check(self, guest, server, kind, target, extra=''):
        guest.write_file('/etc/default/fadump-tools',
                         f'TARGET={target}\n{extra}')
        guest.cmd('sync')
        units, mem_total = guest.units(), guest.mem_total()
        guest.crash()
        self.assert_production(guest, units, mem_total)
        self.assertNotEqual(guest.run('ls -d /var/crash/*/')[0], 0,
                            'a dump was saved here')

        found = server.cmd(f'find /srv/{kind} -type f -printf "%P\\n"').split()
        dumps = [f for f in found if '/dump.' in f]
        self.assertEqual(len(dumps), 1, found)
        for name in ('dmesg.', 'descriptor.json'):
            self.assertTrue([f for f in found if f'/{name}' in f], found)
        dump = f'/srv/{kind}/{dumps[0]}'
        if dump.endswith('.flat'):
            server.cmd(f'makedumpfile -R /srv/whole < {dump} && '
                       f'mv /srv/whole {dump}', timeout=SAVE_TIMEOUT)
        server.cmd(f'rm -f /srv/log && makedumpfile --dump-dmesg {dump} '
                   '/srv/log', timeout=SAVE_TIMEOUT)
        self.assertIn('sysrq: Trigger a crash', server.cmd('cat /srv/log'))
        server.cmd(f'rm -r /srv/{kind}/*')

    @full_only
    def test_targets(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub
        """
        server = self.linked(2, memory='1G', vcpus=1)
        guest = self.linked(1)
        guest.cmd("ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
        self.serve(server, guest.cmd('cat /root/.ssh/id_ed25519.pub'))
        guest.wait_for('the other machine', lambda: guest.run(
            'ssh-keyscan 192.168.77.2 > /root/.ssh/known_hosts && '
            'test -s /root/.ssh/known_hosts')[0] == 0)
        self.assertEqual(guest.wait_settled(), 'running')
        self.assert_registered(guest)
        self.check(guest, server, 'ssh', 'ssh://root@192.168.77.2/srv/ssh',
                   'SSH_KEY=/root/.ssh/id_ed25519\n')
        self.check(guest, server, 'nfs', 'nfs://192.168.77.2/srv/nfs')
        self.check(guest, server, 'http', 'http://192.168.77.2/dumps')


class DistroPackages(DistroTest):
    """Our packages are upgraded, removed and purged while crashes are captured and
    while a dump is held."""

    DKMS, TOOLS = 'fadump-virtio-dkms', 'fadump-tools'
    LATER = '0.1.1'

    def later(self):
        """The packages of a later version, on a disk."""
        source = self.path('fadump-virtio')
        shutil.copytree(os.path.join(build.TOP, 'guest'), source, symlinks=True)
        changelog = os.path.join(source, 'debian', 'changelog')
        with open(changelog, encoding='utf-8') as f:
            text = f.read()
        with open(changelog, 'w', encoding='utf-8') as f:
            f.write(re.sub(r'\([^)]*\)', f'({self.LATER})', text, count=1))
        with open(self.path('dpkg-buildpackage.log'), 'wb') as log:
            subprocess.run(['dpkg-buildpackage', '-d', '-b', '-us', '-uc'],
                           cwd=source, check=True, stdin=subprocess.DEVNULL,
                           stdout=log, stderr=subprocess.STDOUT)
        disk = self.disk(size='64M')
        for name in (self.DKMS, self.TOOLS):
            deb = f'{name}_{self.LATER}_all.deb'
            disk.put(self.path(deb), deb)
        return disk

    def dpkg(self, guest, command):
        """What dpkg or apt says; a compiler runs, in a guest."""
        status, said = guest.run(
            f'DEBIAN_FRONTEND=noninteractive {command} </dev/null 2>&1',
            2 * SAVE_TIMEOUT)
        return status, said.decode(errors='replace')

    def install(self, guest, *names):
        status, said = self.dpkg(guest, 'dpkg -i ' + ' '.join(
            f'/root/{n}_{self.LATER}_all.deb' for n in names))
        self.assertEqual(status, 0, said)
        return said

    @full_only
    def test_life(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub
        """
        guest = self.distro('bookworm', disks=[self.later()])
        self.with_disk(guest, 'cp /mnt/*.deb /root/')
        # It is made again and again, by an emulated processor.
        guest.cmd('echo COMPRESSLEVEL=1 >/etc/initramfs-tools/conf.d/level')
        mem_total = guest.mem_total()

        # An upgrade leaves what is loaded; the next boot has the new one.
        self.install(guest, self.DKMS, self.TOOLS)
        self.assert_registered(guest)
        self.assertIn(f'/{self.LATER},', guest.cmd('dkms status fadump-virtio'))
        self.assertEqual(guest.qmp.count('FADUMP_REGISTERED'), 1)
        # It is not saved, whatever there is room for.
        guest.cmd("printf 'MIN_FREE=1000000\\nRETRIES=0\\n' "
                  '>>/etc/default/fadump-tools && systemctl daemon-reload && sync')
        guest.crash()
        guest.wait_login()
        guest.wait_settled()
        self.assertTrue(guest.exists(VMCORE))
        self.assertLess(guest.mem_total(), mem_total * 0.8)

        # With a dump held: the driver stays, the tools may go, an upgrade does nothing.
        status, said = self.dpkg(guest, f'apt-get -q -y remove {self.DKMS}')
        self.assertNotEqual(status, 0, said)
        self.assertIn('not removed, as the dump of a crash is held', said)
        self.assertEqual(self.dpkg(guest, 'dpkg --configure -a')[0], 0)
        self.assertIn('a dump of a crash is held', self.install(guest, self.TOOLS))
        status, said = self.dpkg(guest, f'apt-get -q -y remove {self.TOOLS}')
        self.assertEqual(status, 0, said)
        self.assertIn('nothing saves it from now on', said)
        self.assertTrue(guest.exists(VMCORE))
        self.assertEqual(guest.qmp.count('FADUMP_RELEASED'), 0)
        self.install(guest, self.TOOLS)
        guest.cmd("sed -i '/^MIN_FREE=1000000/d' /etc/default/fadump-tools && "
                  'systemctl start fadump-save', timeout=SAVE_TIMEOUT)
        self.assertFalse(guest.exists(VMCORE))
        self.assert_dump(guest)
        self.assert_released(guest, mem_total)

        # Purged, while crashes are captured: they are no more; dumps stay.
        status, said = self.dpkg(
            guest, f'apt-get -q -y purge {self.DKMS} {self.TOOLS}')
        self.assertEqual(status, 0, said)
        self.assertIn('crashes are captured no more', said)
        self.assertEqual(guest.qmp.cmd('query-fadump')['state'], 'idle')
        self.assert_dump(guest)
        guest.send('systemctl reboot')
        guest.wait_boot()
        guest.wait_login()
        self.assertEqual(guest.wait_settled(), 'running')
        self.assertEqual(guest.mem_total(), mem_total)
        self.assertFalse(guest.exists('/sys/kernel/fadump'))
        self.assertEqual(guest.qmp.cmd('query-fadump')['state'], 'idle')
        # Of the kernel's headers, the tests' own port, and what is in no package
        self.assertEqual(guest.cmd(
            "find / -xdev -name '*fadump*' ! -path '*/linux-headers-*' "
            "! -path '*/fadump-test-port*' ! -path '/root/*' ! -path '/var/crash/*' "
            "! -path '/var/cache/*' ! -path '/var/log/*'"), '')


class DistroPreserved(SecureBootTest, LuksTest):
    """From the capture to the release the boot of a whole Debian writes to no
    preserved page: firmware, GRUB, kernel, initramfs, systemd, the save."""

    def setUp(self):
        if build.accel() != 'tcg':
            self.skipTest('stops at the reset vector, which needs TCG')

    def check(self, name, memory='1G', **options):
        # q35 has so much below 4 GiB.
        preserved = Preserved(self, memory, 2 * GIB)
        guest = self.new_distro(name, **preserved.options('q35'), **options)
        guest.boot()
        self.assertEqual(guest.wait_settled(), 'running')
        self.assert_registered(guest)
        mem_total = guest.mem_total()
        units = guest.units()
        # Content that any stray write would change: free pages are zero.
        guest.cmd('dd if=/dev/urandom of=/dev/shm/fill bs=1M count=300 2>&1')

        preserved.crash(guest)
        # Nothing is released while the host reads the dump.
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        guest.qmp.getfd('hold', writer)
        os.close(writer)
        guest.qmp.cmd('fadump-save', protocol='fd:hold')
        guest.wait_boot()
        descriptor = self.descriptor(guest)
        guest.wait_for('the save', lambda: 'will be released when that is done'
                       in guest.console(guest.boots[-1].console_start),
                       SAVE_TIMEOUT)
        self.assert_dump(guest)
        changed, checked = preserved.changed(guest, descriptor)
        self.assertGreaterEqual(checked, 512)
        self.assertEqual(changed, [], 'preserved memory changed')
        print(f'# {checked} MiB checked', file=sys.stderr)
        guest.qmp.cmd('fadump-save-cancel')
        # The driver releases it by itself now; the unit has failed to.
        guest.wait_for('the release', lambda: not guest.exists(VMCORE))
        guest.cmd('systemctl reset-failed')
        self.assert_production(guest, units, mem_total)
        guest.close()
        preserved.close()

    @full_only
    def test_bookworm(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub,firmware:seabios
        """
        self.check('bookworm')

    @full_only
    def test_bookworm_uefi(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub,firmware:ovmf
        """
        self.check('bookworm', uefi='bookworm')

    @full_only
    def test_trixie(self):
        """
        :avocado: tags=machine:q35,kernel:6.12,boot:grub,distro:trixie
        """
        self.check('trixie')

    @full_only
    def test_bookworm_6_12(self):
        """
        :avocado: tags=machine:q35,kernel:6.12,boot:grub
        """
        self.check('bookworm-6.12')

    @full_only
    def test_trixie_7(self):
        """
        :avocado: tags=machine:q35,kernel:7,boot:grub,distro:trixie
        """
        self.check('trixie-7')

    @full_only
    def test_kdump_tools(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub
        """
        self.check('bookworm-kdump')

    @full_only
    def test_8_vcpus(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub,vcpus:8
        """
        self.check('bookworm', vcpus=8)

    @full_only
    def test_secure_boot(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub,firmware:ovmf
        """
        self.check('bookworm', **self.secure_boot(self.dkms_key()))

    @full_only
    def test_luks(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub
        """
        self.check(self.IMAGE, memory='4G', disk=self.encrypted())


class DistroBootMemory(DistroTest):
    """Boot memory of the default size holds the boot of a Debian server that
    saves its dump, and leaves some."""

    def check(self, name, vcpus, memory):
        guest = self.distro(name, vcpus=vcpus, memory=memory)
        guest.watch_memory()
        mem_total, units = guest.mem_total(), guest.units()
        guest.cmd('sync')
        guest.crash()
        boot_mem = guest.qmp.cmd('query-fadump')['boot-mem']
        self.assert_production(guest, units, mem_total)
        least = guest.least_available()
        print(f'# {guest.kernel}, {vcpus} vCPUs, {memory}: boot memory '
              f'{boot_mem // MIB} MiB, least available {least // MIB} MiB',
              file=sys.stderr)
        self.assertGreaterEqual(least, 64 * MIB)

    @full_only
    def test_6_1(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub
        """
        for vcpus, memory in ((1, '2G'), (4, '4G'), (16, '16G')):
            with self.subTest(vcpus=vcpus, memory=memory):
                self.check('bookworm', vcpus, memory)

    @full_only
    def test_6_12(self):
        """
        :avocado: tags=machine:q35,kernel:6.12,boot:grub
        """
        for vcpus, memory in ((1, '2G'), (16, '16G')):
            with self.subTest(vcpus=vcpus, memory=memory):
                self.check('trixie', vcpus, memory)

    @full_only
    def test_7(self):
        """
        :avocado: tags=machine:q35,kernel:7,boot:grub
        """
        for vcpus, memory in ((1, '2G'), (16, '16G')):
            with self.subTest(vcpus=vcpus, memory=memory):
                self.check('trixie-7', vcpus, memory)


if __name__ == '__main__':
    main()
