/*
 * QTest testcase for fadump-dev: malformed queues, and the trigger
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

/* The device has seen that its driver is broken, and does no more for it. */
static void wait_broken(Fadump *f)
{
    QVirtioDevice *vdev = &f->dev->vdev;
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while (!(vdev->bus->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
    g_assert_false(qvirtqueue_get_buf(f->qts, f->vq, NULL, NULL));
}

static void assert_broken(Fadump *f)
{
    wait_broken(f);
    assert_state(f, REGISTERED);

    probe(f);
    assert_unharmed(f);
    assert_register(f, OK);
}

static void kick(Fadump *f, uint32_t head)
{
    qvirtqueue_kick(f->qts, &f->dev->vdev, f->vq, head);
}

static void test_queue(const void *opaque)
{
    const struct virtio_fadump_req unregister = {
        .type = cpu_to_le32(VIRTIO_FADUMP_REQ_UNREGISTER),
        .size = cpu_to_le32(sizeof(unregister)),
    };
    const size_t resp = sizeof(struct virtio_fadump_resp);
    Fadump *f = start_and_probe(opaque, "");
    uint64_t out = guest_alloc(&f->qs->alloc, 4096);
    uint64_t in = guest_alloc(&f->qs->alloc, 4096);
    const uint64_t bad_addr[] = {
        2 * GiB, 1 * GiB - 4, UINT64_MAX - 7, 1ull << 52,
    };
    uint32_t head;
    size_t i;

    qtest_bufwrite(f->qts, out, &unregister, sizeof(unregister));
    assert_register(f, OK);

    /* an answer that does not fit: in size, and for having no room at all */
    for (i = 0; i < resp; i += 5) {
        qvirtqueue_reset_pool(f->vq);
        head = qvirtqueue_add(f->qts, f->vq, out, sizeof(unregister), false,
                              i != 0);
        if (i) {
            qvirtqueue_add(f->qts, f->vq, in, i, true, false);
        }
        kick(f, head);
        assert_broken(f);
    }

    /* a chain that loops, with and without room for an answer */
    qvirtqueue_reset_pool(f->vq);
    head = qvirtqueue_add(f->qts, f->vq, out, sizeof(unregister), false, true);
    qtest_writew(f->qts, f->vq->desc + 16 * head + 14, head);
    kick(f, head);
    assert_broken(f);
    for (i = 0; i < 2; i++) {
        qvirtqueue_reset_pool(f->vq);
        head = qvirtqueue_add(f->qts, f->vq, out, sizeof(unregister), false,
                              true);
        qvirtqueue_add(f->qts, f->vq, in, resp, true, true);
        qtest_writew(f->qts, f->vq->desc + 16 * (head + 1) + 14, head + i);
        kick(f, head);
        assert_broken(f);
    }

    /* a chain that leaves the table, and a head outside it */
    qvirtqueue_reset_pool(f->vq);
    head = qvirtqueue_add(f->qts, f->vq, out, sizeof(unregister), false, true);
    qtest_writew(f->qts, f->vq->desc + 16 * head + 14, 0xffff);
    kick(f, head);
    assert_broken(f);
    qvirtqueue_reset_pool(f->vq);
    kick(f, f->vq->size);
    assert_broken(f);

    /* what the device may write comes before what it may read */
    qvirtqueue_reset_pool(f->vq);
    head = qvirtqueue_add(f->qts, f->vq, in, resp, true, true);
    qvirtqueue_add(f->qts, f->vq, out, sizeof(unregister), false, false);
    kick(f, head);
    assert_broken(f);

    /* a part of no bytes */
    qvirtqueue_reset_pool(f->vq);
    head = qvirtqueue_add(f->qts, f->vq, out, 0, false, true);
    qvirtqueue_add(f->qts, f->vq, in, resp, true, false);
    kick(f, head);
    assert_broken(f);

    /* more requests than the queue holds */
    qtest_writew(f->qts, f->vq->avail + 2,
                 qtest_readw(f->qts, f->vq->avail + 2) + f->vq->size + 1);
    f->dev->vdev.bus->virtqueue_kick(&f->dev->vdev, f->vq);
    settle(f);
    probe(f);
    assert_unharmed(f);
    assert_register(f, OK);

    /*
     * Not all of it is RAM. QEMU may take what is no RAM for a device to read
     * from, so only the registration counts here, and that it lives.
     */
    for (i = 0; i < ARRAY_SIZE(bad_addr); i++) {
        qvirtqueue_reset_pool(f->vq);
        head = qvirtqueue_add(f->qts, f->vq, bad_addr[i], sizeof(unregister),
                              false, true);
        qvirtqueue_add(f->qts, f->vq, in, resp, true, false);
        kick(f, head);
        settle(f);
        assert_state(f, REGISTERED);
        probe(f);
        assert_register(f, OK);

        qvirtqueue_reset_pool(f->vq);
        head = qvirtqueue_add(f->qts, f->vq, out, sizeof(unregister), false,
                              true);
        qvirtqueue_add(f->qts, f->vq, bad_addr[i], resp, true, false);
        kick(f, head);
        settle(f);
        probe(f);
        assert_unharmed(f);
        assert_register(f, OK);
    }
    stop(f);
}

/* The answer goes to the device's own registers, or to the dump. */
static void test_queue_to_device(const void *opaque)
{
    const struct virtio_fadump_get_boot_mem req = {
        .hdr.type = cpu_to_le32(VIRTIO_FADUMP_REQ_GET_BOOT_MEM),
        .hdr.size = cpu_to_le32(sizeof(req)),
    };
    Fadump *f = start_and_probe(opaque, "");
    g_autoptr(GByteArray) desc = NULL, again = NULL;
    uint64_t out = guest_alloc(&f->qs->alloc, 4096), target[3];
    uint32_t head;
    size_t i;

    assert_register(f, OK);
    trigger_panic(f);
    probe(f);
    desc = read_descriptor(f);

    target[0] = f->dev->bar.addr + f->dev->notify_cfg_offset;
    target[1] = f->dev->bar.addr + f->dev->common_cfg_offset;
    target[2] = f->window;
    for (i = 0; i < ARRAY_SIZE(target); i++) {
        qtest_bufwrite(f->qts, out, &req, sizeof(req));
        qvirtqueue_reset_pool(f->vq);
        head = qvirtqueue_add(f->qts, f->vq, out, sizeof(req), false, true);
        qvirtqueue_add(f->qts, f->vq, target[i],
                       sizeof(struct virtio_fadump_boot_mem) +
                       sizeof(struct virtio_fadump_extent), true, false);
        kick(f, head);
        settle(f);
        probe(f);
        assert_state(f, DUMP_AVAILABLE);
        again = read_descriptor(f);
        g_assert_cmpmem(again->data, again->len, desc->data, desc->len);
        g_clear_pointer(&again, g_byte_array_unref);
    }
    stop(f);
}

static void test_trigger(const void *opaque)
{
    static const uint32_t unknown[] = {
        0, 6, 0x100, 0x10000, 0x10001, 0x01000000, 0x80000001, UINT32_MAX,
    };
    const uint8_t one = 1, two = 2;
    const uint16_t ones = cpu_to_le16(0x0101);
    const uint64_t off = CONFIG_OFF(trigger);
    Fadump *f = start_and_probe(opaque, "");
    uint64_t all_ones = UINT64_MAX;
    size_t i;

    /* none of this is for a device that is IDLE */
    trigger(f, VIRTIO_FADUMP_TRIGGER_PANIC);
    trigger(f, VIRTIO_FADUMP_TRIGGER_YIELD);
    trigger(f, VIRTIO_FADUMP_TRIGGER_UNREGISTER);
    trigger(f, VIRTIO_FADUMP_TRIGGER_WILL_YIELD);
    settle(f);
    g_assert_cmpint(f->resets, ==, 0);
    g_assert_false(query_flag(f, "will-yield"));
    assert_unharmed(f);

    assert_register(f, OK);
    for (i = 0; i < ARRAY_SIZE(unknown); i++) {
        trigger(f, unknown[i]);
        settle(f);
        g_assert_cmpint(f->resets, ==, 0);
        assert_state(f, REGISTERED);
        g_assert_cmpint(CONFIG_L(f, trigger), ==, 0);
    }

    /* parts of a write: none adds up with another */
    for (i = 1; i < 4; i++) {
        write_config(f, off + i, &one, 1);
        write_config(f, off + i, &two, 1);
    }
    write_config(f, off + 2, &ones, 2);
    write_config(f, off, &ones, 2);
    settle(f);
    g_assert_cmpint(f->resets, ==, 0);
    assert_state(f, REGISTERED);

    /* all else is read-only */
    for (i = 0; i < sizeof(struct virtio_fadump_config); i += 8) {
        uint64_t before = qvirtio_config_readq(&f->dev->vdev, i);

        write_config(f, i, &all_ones, sizeof(all_ones));
        g_assert_cmphex(qvirtio_config_readq(&f->dev->vdev, i), ==, before);
    }
    settle(f);
    g_assert_cmpint(f->resets, ==, 0);
    assert_state(f, REGISTERED);

    /* a kernel that cannot use the queue any more wants to reboot */
    trigger(f, VIRTIO_FADUMP_TRIGGER_UNREGISTER);
    assert_state(f, IDLE);
    guest_reset(f);
    g_assert_cmpint(f->crashloaded, ==, 0);
    probe(f);
    check_released(f);
    assert_unharmed(f);
    stop(f);
}

void fadump_add_queue_tests(void)
{
    add_test("queue", PC_1G, test_queue);
    add_test("queue", Q35_1G, test_queue);
    add_test("queue-to-device", Q35_1G, test_queue_to_device);
    add_test("trigger", PC_1G, test_trigger);
    add_test("trigger", Q35_1G, test_trigger);
}
