#!/usr/bin/env python3
"""Mounts of a tree with a mount namespace of its own: the same before a dump and after the restore.

usage: mounts_test.py CRIU

Prints `ok NAME` or `not ok NAME: why` for each. Needs root and busybox (static). The mounts lie in a namespace that ends with the test; the
"caller's own" mounts, where a test needs some, are made in a namespace of the test's.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from engines import Rootfs, main  # noqa: E402
from steps import Failure, check, has_ended, run, wait_for  # noqa: E402

CRIU = os.path.abspath(sys.argv[1])

# $1: the root file system. The case's own commands run in there, with the outside still at hand below /outside.
ENTER = r"""
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
mknod dev/null c 1 3
. "$2"
mkdir -p old
pivot_root . old
umount -l old
cd /
exec setsid /bin/sh -c 'echo > /tmp/ready; while :; do sleep 1; done' < /dev/null > /dev/null 2>&1
"""


def table(pid):
    """Mount point, root, flags, type and options of each mount; groups by who is in them, for their numbers change."""
    found, groups = {}, {}
    for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        words = line.split()
        dash = words.index("-")
        tags = dict(word.split(":") for word in words[6:dash] if ":" in word)
        place = words[4]
        while place in found:
            place += "+"
        root = words[3].replace(words[3].split("[")[0] + "[", "NS[") if words[dash + 1] == "nsfs" else words[3]
        root = root.split("[")[0] if words[dash + 1] == "nsfs" else root
        found[place] = [root, words[5], words[dash + 1], words[dash + 3], tags]
        for tag in ("shared", "master"):
            if tag in tags:
                groups.setdefault(tags[tag], set()).add((tag, place))
    for value in found.values():
        value[4] = {tag: sorted(groups[number]) for tag, number in value[4].items()}
    return found


class Tree:
    """A process in namespaces of its own: mount and network, so that a sysfs may be mounted."""

    def __init__(self, folder, script, flags="mnp"):
        self.folder, self.rootfs = folder, folder / "rootfs"
        (folder / "script").write_text(script)
        self.starter = subprocess.Popen(["setsid", "unshare", *(f"-{flag}" for flag in flags), "-f", "--kill-child", "/bin/sh", "-c", ENTER, "sh",
                                         str(self.rootfs), str(folder / "script")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, env={**os.environ, "OUTER": str(os.getpid())})
        ready = self.rootfs / "tmp/ready"
        wait_for(lambda: ready.exists() or self.starter.poll() is not None, "the set-up")
        if not ready.exists():
            raise Failure(f"set-up: {self.starter.stderr.read().decode()}")
        self.pid = int(pathlib.Path(f"/proc/{self.starter.pid}/task/{self.starter.pid}/children").read_text().split()[0])
        self.images = folder / "images"
        self.images.mkdir()

    def shell(self, script):
        status, output = run("nsenter", "-t", self.pid, "-m", "-p", "-r", "-w", "/bin/sh", "-c", script)
        check(status == 0, f"{script}: {output}")
        return output

    def dump(self, *options):
        status, output = run(CRIU, "dump", "-t", self.pid, "-D", self.images, *options)
        if status == 0:
            self.starter.wait()
            wait_for(lambda: not pathlib.Path(f"/proc/{self.pid}").exists(), "the tree is gone")
        return status, output

    def restore(self, *options):
        pidfile = self.folder / "pid"
        status, output = run(CRIU, "restore", "-d", "-D", self.images, "--root", self.rootfs, "--pidfile", pidfile, *options)
        if status == 0:
            self.pid = int(pidfile.read_text())
        return status, output

    def end(self):
        if pathlib.Path(f"/proc/{self.pid}").exists():
            run("kill", "-9", self.pid)
            wait_for(lambda: has_ended(self.pid), "the tree ends")
        self.starter.stderr.close()


def same(script, look="true", flags="mnp", dump=(), restore=()):
    """A test: through dump and restore, after which the table of mounts and what `look` prints are as before."""
    def test(folder):
        Rootfs(folder / "rootfs")
        tree = Tree(folder, script, flags)
        try:
            before, seen = table(tree.pid), tree.shell(look)
            status, output = tree.dump(*dump)
            check(status == 0, f"dump: {output}")
            status, output = tree.restore(*restore)
            check(status == 0, f"restore: {output}")
            after = table(tree.pid)
            differing = {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}
            check(not differing, f"{[(place, before.get(place), after.get(place)) for place in sorted(differing)]}")
            check(tree.shell(look) == seen, f"{look}: {tree.shell(look)}, {seen} before")
        finally:
            tree.end()
    return test


def refused(script, word, hint, flags="mnp"):
    """A dump that is refused by name and leaves everything as it was."""
    def test(folder):
        Rootfs(folder / "rootfs")
        tree = Tree(folder, script, flags)
        try:
            before = table(tree.pid)
            status, output = tree.dump()
            check(status == 1 and word in output and hint in output, f"status {status}: {output}")
            check(table(tree.pid) == before, "the dump has changed the mounts")
        finally:
            tree.end()
    return test


def left_out(folder):
    """--skip-mnt: of the dump, and of the restore."""
    Rootfs(folder / "rootfs")
    tree = Tree(folder, "mkdir mnt one; mount -t tmpfs t mnt; mkdir mnt/x; mount -t tmpfs u mnt/x; mount -t tmpfs v one")
    try:
        status, output = tree.dump("--skip-mnt", "/mnt")
        check(status == 0, f"dump: {output}")
        status, output = tree.restore("--skip-mnt", "/one")
        check(status == 0, f"restore: {output}")
        check(set(table(tree.pid)) == {"/", "/proc", "/dev"}, f"mounts: {sorted(table(tree.pid))}")
    finally:
        tree.end()


OUTSIDE = "mkdir -p data host host2; echo mine > data/file; mount --bind $OUT/shown host; mount --bind $OUT/shown/below host2"


def automatic(options, setup, look):
    """mnt[]: mounts that show the caller's are found, and come from the same path. The caller's mounts are a namespace of the test's."""
    def test(folder):
        command = ["unshare", "-m", "/usr/bin/python3", __file__, CRIU, str(folder), setup, look, *options]
        status, output = run(*command)
        check(status == 0, output)
    return test


def automatic_inside(folder, setup, look, *options):
    outside = folder / "out"
    (outside / "shown/below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "out", str(outside)], check=True)
    subprocess.run(["mount", "--make-shared", str(outside)], check=True)
    (outside / "shown/below").mkdir(parents=True)
    (outside / "shown/below/file").write_text("theirs\n")
    try:
        same(f"OUT={outside}\n{setup}", look, dump=options, restore=options)(folder)
    finally:
        subprocess.run(["umount", "-l", str(outside)], check=True)


COVERED = """
mkdir mnt; mount -t tmpfs lower mnt; echo lower > mnt/file; mkdir mnt/dir; mount -t tmpfs deep mnt/dir; echo deep > mnt/dir/file
mount -t tmpfs upper mnt; echo upper > mnt/file; mkdir -p side/by; mount -t tmpfs by side/by; echo by > side/by/file
mount -t tmpfs side side; echo side > side/file
"""
UNCOVER = "cat /mnt/file /side/file; umount /mnt; cat /mnt/file /mnt/dir/file; umount /side; cat /side/by/file"


def covered(folder):
    """What lies under other mounts has kept its contents."""
    Rootfs(folder / "rootfs")
    tree = Tree(folder, COVERED)
    try:
        before = table(tree.pid)
        status, output = tree.dump()
        check(status == 0, f"dump: {output}")
        status, output = tree.restore()
        check(status == 0, f"restore: {output}")
        check(table(tree.pid) == before, f"mounts: {table(tree.pid)}, {before} before")
        check(tree.shell(UNCOVER).split() == ["upper", "side", "lower", "deep", "by"], "contents")
    finally:
        tree.end()


def forged_overlay(folder):
    """An image that names a directory by a magic link, which leads out of the tree's root."""
    Rootfs(folder / "rootfs")
    tree = Tree(folder, "mkdir a b m; chroot . /bin/mount -t overlay o -o lowerdir=/a:/b m")
    try:
        status, output = tree.dump()
        check(status == 0, f"dump: {output}")
        image = next(tree.images.glob("mountpoints-*.img"))
        status, text = run(CRIU, "crit", "decode", "-i", image)
        check("lowerdir=/a:/b" in text, f"crit: {text}")
        (folder / "forged").write_text(text.replace("lowerdir=/a:/b", "lowerdir=/proc/1/root/etc:/b"))
        status, output = run(CRIU, "crit", "encode", "-i", folder / "forged", "-o", image)
        check(status == 0, f"crit: {output}")
        status, output = tree.restore()
        check(status == 1 and "/proc/1/root/etc, which is not found in the tree" in output, f"status {status}: {output}")
    finally:
        tree.end()


# What a container manager in a container does.
OVERLAY_ROOT = r"""
mkdir image changes work merged; for name in bin proc; do mkdir image/$name; done; cp bin/busybox image/bin; ln -s busybox image/bin/sh
echo image > image/file
chroot . /bin/mount -t overlay o -o lowerdir=/image,upperdir=/changes,workdir=/work /merged
unshare -m --propagation private sh -c 'mount --rbind merged merged; cd merged; mkdir old; mount -t proc proc proc; mount -t tmpfs t proc/tty
pivot_root . old; exec /bin/busybox setsid /bin/busybox sh -c "/bin/busybox umount -l /old; exec < /file > /report 2>&1; echo inside > /inside; while :; do sleep 1; done"' < /dev/null > /dev/null 2>&1 &
while ! [ -e merged/inside ]; do sleep 0.05; done
"""
LOOK_BELOW = "cat /changes/in* /merged/file /proc/$(grep -l 'insid[e]' /proc/[0-9]*/cmdline | cut -d / -f 3 | sort -n | tail -1)/root/in*"


TESTS = {
    "covered mounts": covered,
    "propagation": same("""
mkdir a b c d; mount -t tmpfs a a; mount --make-shared a; mount --bind a b; mount --bind a c; mount --make-slave c; mount --bind a d
mount --make-slave d; mount --make-shared d; mkdir a/sub; mount -t tmpfs sub a/sub; mkdir u; mount -t tmpfs u u; mount --make-unbindable u
"""),
    "deleted files and directories": same("""
mkdir mnt here; mount -t tmpfs m mnt; echo kept > mnt/file; chmod 640 mnt/file; touch place; mount --bind mnt/file place; rm mnt/file
mkdir -p mnt/deep/er; mkdir dir; mount --bind mnt/deep/er dir; rmdir mnt/deep/er; rmdir mnt/deep
mkdir roots; echo also > roots/x; touch place2; mount --bind roots/x place2; rm roots/x; mount -o remount,ro,bind mnt
""", "cat /place /place2; stat -c %a /place; ls /mnt /roots; stat -c %F /dir"),
    "namespace files": same("""
touch net uts; mount --bind /proc/self/ns/net net
""", "ls -d /net"),
    "kinds of file systems": same("""
mkdir k; cd k; mkdir sys debug security huge bpf ram mqueue pts sub fuse
mount -t sysfs s sys; mount -t debugfs d debug; mount -t securityfs s security; mount -t hugetlbfs -o pagesize=2M h huge
mount -t bpf b bpf; mount -t ramfs r ram; echo ram > ram/file; mount -t mqueue m mqueue
mount -t devpts -o newinstance,ptmxmode=666 p pts; mount -t proc -o hidepid=invisible,subset=pid p sub; cd ..
""", "cat /k/ram/file; ls /k/bpf /k/huge", flags="mnpi"),
    "control groups seen from inside": same("""
mkdir one two; mount -t cgroup2 none one; mount -t cgroup -o none,name=systemd none two
""", "cat /proc/1/cgroup", flags="mnpC"),
    "overlays of the tree's directories": same("""
mkdir a m m2 part top disk; mount -t tmpfs disk disk; mkdir disk/l disk/u disk/w; echo low > disk/l/file; echo plain > a/plain; ln -s disk/l link
chroot . /bin/mount -t overlay o -o lowerdir=/link:/a,upperdir=/disk/u,workdir=/disk/w /m
mkdir m/sub; echo up > m/sub/new; mount --bind m/sub part; mount -t tmpfs top m/sub; echo top > m/sub/top
chroot . /bin/mount -t overlay o -o lowerdir=/m:/top m2
""", "cat /m/file /m/plain /m/sub/top /part/new /m2/file /m2/sub/new; rm -f /m/file; echo x > /m/more; ls /m /disk/u; echo low > /m/file; rm /m/more"),
    "an overlay as another namespace's root": same(OVERLAY_ROOT, LOOK_BELOW, flags="mnp"),
    "refused: an overlay by relative paths": refused("mkdir a b m; chroot . /bin/mount -t overlay o -o lowerdir=a:b m", "relative paths", "mnt[/m]:KEY"),
    "refused: an overlay of the host's directories": refused("mkdir m; mount -t overlay o -o lowerdir=/usr:/var m", "not found in the tree", "mnt[/m]:KEY"),
    "refused: an overlay by magic links": refused("mkdir b m; chroot . /bin/mount -t overlay o -o lowerdir=/proc/self/root/data:/b m",
                                                  "not found in the tree", "mnt[/m]:KEY"),
    "refused: an overlay of a forged image": forged_overlay,
    "left out": left_out,
    "the caller's mounts": automatic(["--external", "mnt[]:ms"], "mkdir host host2 host3; mount --bind $OUT/shown host; mount --bind "
                                     "$OUT/shown/below host2; mount --make-private host; mount --make-private host2; mount -o remount,ro,bind "
                                     "host2; mount --make-shared host2", "cat /host/below/file /host2/file"),
    "mounts that follow the caller's": automatic(["--external", "mnt[]", "--enable-external-masters"], "mkdir host; mount --bind $OUT/shown "
                                                 "host; mount --make-slave host", "cat /host/below/file"),
    "refused: a directory of the host": refused("mkdir host; mount --bind /var host", "/host", "mnt[/host]:KEY"),
    "refused: huge pages in files": refused("mkdir h; mount -t hugetlbfs -o pagesize=2M h h; echo -n > h/file", "isn't empty", "--external"),
    "refused: a namespace of others": refused("touch net; mount --bind /proc/$OUTER/ns/net net", "net:[", "mnt[/net]:KEY"),
}

if __name__ == "__main__":
    if len(sys.argv) > 2:
        automatic_inside(pathlib.Path(sys.argv[2]), *sys.argv[3:])
    else:
        sys.exit(main("mounts", TESTS, ["/bin/busybox"], "the package busybox-static"))
