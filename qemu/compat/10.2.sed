# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a source or a patch for QEMU 10.0 says, as QEMU 10.2 says it. See
# scripts/qemu-tree.sh.

# Headers that have moved; of a patch the path that it changes, too
s,\<exec/\(address-spaces\|memory\|ram_addr\|ramblock\)\.h\>,system/\1.h,g

# TypeInfo.class_init takes data that it cannot change.
s/(ObjectClass \*\([a-z_]*\), void \*\([a-z_]*\))/(ObjectClass *\1, const void *\2)/

# VirtioDeviceClass.set_status can fail.
/^static void [a-z_]*_set_status(VirtIODevice \*vdev, uint8_t [a-z]*)$/,/^}/ {
    s/^static void/static int/
    s/\<return;/return 0;/
    s/^}/\n    return 0;\n}/
}

# Translated code is dropped when a vCPU is next in its loop.
s/\<tb_flush(cpu)/queue_tb_flush(cpu)/

# struct RAMBlock is not the end of its header.
/^@@ .* struct RAMBlock {$/,/^diff / {
    /^ #endif$/ {
        N
        s/.*/ \n struct RamBlockAttributes {/
    }
}

# Feature bits of a virtio device are an array.
s/CONVERT_FEATURES(strList, \(virtio_fadump_feature_map\), 0, bitmap)/CONVERT_FEATURES_EX(strList, \1, bitmap)/

# Of libqos in 10.0.13 and in what comes after 10.2
s/^\( *\)qvirtqueue_reset_pool(\(.*\));$/\1\2->free_head = 0;\n\1\2->num_free = \2->size;/

# RamDiscardManager: one type of callback, which can fail for what is discarded, too
s/\<ReplayRam\(Populate\|Discard\)\>/ReplayRamDiscardState/
/^static int replay_one_discarded(/,/^}/ {
    s/^    replay->fn(/    return replay->fn(/
    /^    return 0;$/d
}
/^static void replay_discarded(/,/^}/ {
    s/^static void/static int/
    s/^ \( *\(MemoryRegionSection\|ReplayRam\)\)/\1/
    /^    for_each_part(/ {
        s/.*/    return for_each_part(FADUMP_POPULATED(rdm), section, false,/
        n
        s/.*/                         replay_one_discarded, \&replay);/
    }
}
