/*
 * Firmware-assisted dump device: requests of the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A request is copied, then checked as a whole, then done: one that is refused
 * leaves everything as it was. The order of the checks is that of
 * docs/specs/virtio-fadump.rst.
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "qemu/log.h"
#include "qapi/error.h"
#include "hw/misc/fadump-desc.h"
#include "hw/misc/fadump-dev.h"
#include "trace.h"

#define MAX_REQ_SIZE (sizeof(struct virtio_fadump_register) + \
                      FADUMP_MAX_REGIONS * sizeof(struct virtio_fadump_region))

/* A request, of which @buf has the first @size of @out_size bytes. */
typedef struct FadumpReq {
    const uint8_t *buf;
    size_t size;
    size_t out_size;
    /* bytes that the answer can have */
    size_t in_size;
    uint32_t type;
    /* the answer: its detail, and what follows its header */
    uint64_t detail;
    GByteArray *data;
} FadumpReq;

static bool has_feature(VirtIOFadump *s, unsigned int feature)
{
    return virtio_vdev_has_feature(VIRTIO_DEVICE(s), feature);
}

/* ------------------------------------------------------------------ */
/* REGISTER                                                           */

/* What a registration that is being checked would be. */
typedef struct Registration {
    GArray *boot;       /* of FadumpRange: boot memory of its size */
    GArray *covered;    /* of FadumpRange: BOOT_MEM regions so far */
    FadumpDest *dests;
    uint32_t nr_dests;
    FadumpRange vmcoreinfo;
    FadumpRange crash_note;
    bool cpu_state;
} Registration;

static bool overlaps_any(const GArray *ranges, const FadumpRange *r)
{
    guint i;

    for (i = 0; i < ranges->len; i++) {
        if (fadump_range_overlaps(&g_array_index(ranges, FadumpRange, i), r)) {
            return true;
        }
    }
    return false;
}

const char *fadump_check_dest(const VirtIOFadump *s, const GArray *boot,
                              const FadumpRange *src, uint64_t dst,
                              const FadumpDest *others, uint32_t n)
{
    FadumpRange range = { dst, src->size };
    uint32_t i;

    if (dst % VIRTIO_FADUMP_ALIGN) {
        return "destination not aligned";
    }
    if (!fadump_ranges_contain(s->ram_map, &range)) {
        return "destination outside RAM";
    }
    if (overlaps_any(boot, &range)) {
        return "destination in boot memory";
    }
    for (i = 0; i < n; i++) {
        FadumpRange other = { others[i].dst, others[i].src.size };

        if (fadump_range_overlaps(&other, &range)) {
            return "destination overlaps another";
        }
    }
    return NULL;
}

/* A kernel may have allocated a note in memory that was plugged. */
bool fadump_note_region_ok(const FadumpRange *r, uint64_t max)
{
    g_autoptr(GArray) runs = fadump_ram_runs(NULL);
    g_autoptr(GArray) ram = g_array_new(false, false, sizeof(FadumpRange));
    guint i;

    for (i = 0; runs && i < runs->len; i++) {
        g_array_append_val(ram, g_array_index(runs, FadumpRamRun, i).range);
    }
    return r->size <= max && fadump_ranges_normalize(ram) &&
           fadump_ranges_contain(ram, r);
}

/* Each of these checks a region and takes it, or says what is wrong with it. */

static const char *take_cpu_state(Registration *reg,
                                  const struct virtio_fadump_region *r)
{
    if (reg->cpu_state || r->src || r->len || r->dst) {
        return "expected one, with no addresses";
    }
    reg->cpu_state = true;
    return NULL;
}

static const char *take_dest(VirtIOFadump *s, Registration *reg,
                             const FadumpRange *src, uint64_t dst)
{
    const char *why;

    if (dst == VIRTIO_FADUMP_DST_HOST) {
        return has_feature(s, VIRTIO_FADUMP_F_HOST_MEM) ?
               NULL : "destination in the host, without HOST_MEM";
    }
    if (!has_feature(s, VIRTIO_FADUMP_F_GUEST_MEM)) {
        return "destination in the guest, without GUEST_MEM";
    }
    why = fadump_check_dest(s, reg->boot, src, dst, reg->dests, reg->nr_dests);
    if (!why) {
        reg->dests[reg->nr_dests].src = *src;
        reg->dests[reg->nr_dests++].dst = dst;
    }
    return why;
}

static const char *take_boot_mem(VirtIOFadump *s, Registration *reg,
                                 const struct virtio_fadump_region *r)
{
    FadumpRange src = { le64_to_cpu(r->src), le64_to_cpu(r->len) };
    const FadumpRange *boot = fadump_ranges_find(reg->boot, &src);
    const char *why;

    if (!boot) {
        return "outside boot memory";
    }
    if (src.base % VIRTIO_FADUMP_ALIGN ||
        (src.size % VIRTIO_FADUMP_ALIGN &&
         src.base + src.size != boot->base + boot->size)) {
        return "not aligned";
    }
    if (overlaps_any(reg->covered, &src)) {
        return "overlaps another";
    }
    why = take_dest(s, reg, &src, le64_to_cpu(r->dst));
    if (!why) {
        g_array_append_val(reg->covered, src);
    }
    return why;
}

static const char *take_note(VirtIOFadump *s, FadumpRange *note, uint64_t max,
                             const struct virtio_fadump_region *r)
{
    FadumpRange range = { le64_to_cpu(r->src), le64_to_cpu(r->len) };

    if (note->size) {
        return "second of its type";
    }
    if (r->dst) {
        return "has a destination";
    }
    if (!fadump_note_region_ok(&range, max)) {
        return "empty, too long, or outside RAM";
    }
    *note = range;
    return NULL;
}

static uint32_t check_region(VirtIOFadump *s, Registration *reg, uint32_t i,
                             const struct virtio_fadump_region *r,
                             uint64_t *detail)
{
    uint32_t type = le32_to_cpu(r->type);
    const char *why = "reserved field not 0";

    if (!r->reserved) {
        switch (type) {
        case VIRTIO_FADUMP_REGION_CPU_STATE:
            why = take_cpu_state(reg, r);
            break;
        case VIRTIO_FADUMP_REGION_BOOT_MEM:
            why = take_boot_mem(s, reg, r);
            break;
        case VIRTIO_FADUMP_REGION_VMCOREINFO:
            why = take_note(s, &reg->vmcoreinfo, VIRTIO_FADUMP_VMCOREINFO_MAX,
                            r);
            break;
        case VIRTIO_FADUMP_REGION_CRASH_NOTE:
            why = take_note(s, &reg->crash_note, VIRTIO_FADUMP_CRASH_NOTE_MAX,
                            r);
            break;
        default:
            *detail = type;
            return VIRTIO_FADUMP_S_UNSUPPORTED;
        }
    }
    if (why) {
        qemu_log_mask(LOG_GUEST_ERROR, "fadump-dev: region %" PRIu32 " (type %"
                      PRIu32 ", src 0x%" PRIx64 ", len 0x%" PRIx64 ", dst 0x%"
                      PRIx64 "): %s\n", i, type, le64_to_cpu(r->src),
                      le64_to_cpu(r->len), le64_to_cpu(r->dst), why);
        *detail = i;
        return VIRTIO_FADUMP_S_BAD_REGION;
    }
    return VIRTIO_FADUMP_S_OK;
}

static uint32_t check_regions(VirtIOFadump *s, Registration *reg,
                              const struct virtio_fadump_region *r,
                              uint32_t n, uint64_t *detail)
{
    uint32_t i, status;

    for (i = 0; i < n; i++) {
        status = check_region(s, reg, i, &r[i], detail);
        if (status != VIRTIO_FADUMP_S_OK) {
            return status;
        }
    }
    if (!reg->cpu_state) {
        *detail = VIRTIO_FADUMP_REGION_CPU_STATE;
        return VIRTIO_FADUMP_S_MISSING_REGION;
    }
    /* all lie in boot memory, and none overlap */
    if (fadump_ranges_size(reg->covered) != fadump_ranges_size(reg->boot)) {
        *detail = VIRTIO_FADUMP_REGION_BOOT_MEM;
        return VIRTIO_FADUMP_S_MISSING_REGION;
    }
    return VIRTIO_FADUMP_S_OK;
}

static uint32_t register_regions(VirtIOFadump *s,
                                 const struct virtio_fadump_register *req,
                                 uint64_t *detail)
{
    uint32_t n = le32_to_cpu(req->nr_regions), status;
    uint64_t size = le64_to_cpu(req->boot_mem);
    g_autoptr(GArray) boot = fadump_boot_of(s, size);
    g_autoptr(GArray) covered = g_array_new(false, false, sizeof(FadumpRange));
    g_autofree FadumpDest *dests = g_new(FadumpDest, n);
    Registration reg = { .boot = boot, .covered = covered, .dests = dests };

    status = check_regions(s, &reg, req->regions, n, detail);
    if (status != VIRTIO_FADUMP_S_OK) {
        return status;
    }
    g_array_unref(s->boot);
    s->boot = g_steal_pointer(&boot);
    s->boot_size = size;
    fadump_prepare_move(s);
    s->vmcoreinfo = reg.vmcoreinfo;
    s->crash_note = reg.crash_note;
    s->nr_dests = reg.nr_dests;
    memcpy(s->dests, dests, reg.nr_dests * sizeof(*dests));
    fadump_event(s, FADUMP_EVENT_REGISTER);
    return VIRTIO_FADUMP_S_OK;
}

static bool can_capture(VirtIOFadump *s)
{
    if (!has_feature(s, VIRTIO_FADUMP_F_CONFINE) ||
        (!has_feature(s, VIRTIO_FADUMP_F_HOST_MEM) &&
         !has_feature(s, VIRTIO_FADUMP_F_GUEST_MEM))) {
        qemu_log_mask(LOG_GUEST_ERROR, "fadump-dev: REGISTER needs the "
                      "features CONFINE, and HOST_MEM or GUEST_MEM\n");
        return false;
    }
    return true;
}

static uint32_t request_register(VirtIOFadump *s, FadumpReq *req)
{
    const struct virtio_fadump_register *reg = (const void *)req->buf;
    uint32_t n;

    if (req->out_size > MAX_REQ_SIZE) {
        req->detail = FADUMP_MAX_REGIONS;
        return VIRTIO_FADUMP_S_TOO_MANY;
    }
    if (fadump_life_held(s->life)) {
        return VIRTIO_FADUMP_S_BUSY;
    }
    if (fadump_state(s) == VIRTIO_FADUMP_STATE_REGISTERED) {
        return VIRTIO_FADUMP_S_EXISTS;
    }
    if (!can_capture(s)) {
        return VIRTIO_FADUMP_S_FAILED;
    }
    if (req->size < sizeof(*reg) || reg->reserved) {
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    n = le32_to_cpu(reg->nr_regions);
    if (n > FADUMP_MAX_REGIONS) {
        req->detail = FADUMP_MAX_REGIONS;
        return VIRTIO_FADUMP_S_TOO_MANY;
    }
    if (req->out_size != sizeof(*reg) + n * sizeof(reg->regions[0]) ||
        !reg->boot_mem ||
        fadump_grant(s, le64_to_cpu(reg->boot_mem)) !=
        le64_to_cpu(reg->boot_mem)) {
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    return register_regions(s, reg, &req->detail);
}

/* ------------------------------------------------------------------ */
/* The other requests                                                 */

static uint32_t request_unregister(VirtIOFadump *s, FadumpReq *req)
{
    if (req->out_size != sizeof(struct virtio_fadump_req)) {
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    return fadump_event(s, FADUMP_EVENT_UNREGISTER) ? VIRTIO_FADUMP_S_OK
                                                    : VIRTIO_FADUMP_S_NONE;
}

/* Whether the guest may change the dump now. */
static uint32_t check_held(VirtIOFadump *s)
{
    if (!fadump_life_held(s->life)) {
        return VIRTIO_FADUMP_S_NONE;
    }
    return fadump_save_active(s->save) ? VIRTIO_FADUMP_S_BUSY
                                       : VIRTIO_FADUMP_S_OK;
}

static uint32_t request_release(VirtIOFadump *s, FadumpReq *req)
{
    uint32_t status = check_held(s);

    if (req->out_size != sizeof(struct virtio_fadump_req)) {
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    if (status == VIRTIO_FADUMP_S_OK) {
        fadump_event(s, FADUMP_EVENT_RELEASE);
    }
    return status;
}

/* Free what the window holds of @range of the crashed machine's memory. */
static void discard_range(VirtIOFadump *s, const FadumpRange *range)
{
    const uint8_t *desc = fadump_hold_desc(&s->hold);
    const struct virtio_fadump_desc *h = (const void *)desc;
    FadumpRange part;
    uint32_t i;

    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        const struct virtio_fadump_range *r = fadump_desc_range(desc, i);
        FadumpRange held = { le64_to_cpu(r->addr), le64_to_cpu(r->len) };

        if (le32_to_cpu(r->where) == VIRTIO_FADUMP_WHERE_WINDOW &&
            fadump_range_intersect(&held, range, &part)) {
            fadump_hold_discard(&s->hold,
                                le64_to_cpu(r->dest) + (part.base - held.base),
                                part.size);
        }
    }
}

static uint32_t request_discard(VirtIOFadump *s, FadumpReq *req)
{
    const struct virtio_fadump_discard *discard = (const void *)req->buf;
    FadumpRange range;
    uint32_t status;

    if (!has_feature(s, VIRTIO_FADUMP_F_DISCARD)) {
        req->detail = req->type;
        return VIRTIO_FADUMP_S_UNSUPPORTED;
    }
    if (req->out_size != sizeof(*discard)) {
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    range.base = le64_to_cpu(discard->addr);
    range.size = le64_to_cpu(discard->len);
    if ((range.base | range.size) % s->discard_size ||
        !fadump_range_valid(&range)) {
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    status = check_held(s);
    if (status == VIRTIO_FADUMP_S_OK && fadump_ram_why_stay()) {
        status = VIRTIO_FADUMP_S_BUSY;
    }
    if (status == VIRTIO_FADUMP_S_OK) {
        trace_fadump_discard(range.base, range.size);
        discard_range(s, &range);
    }
    return status;
}

static uint32_t request_get_boot_mem(VirtIOFadump *s, FadumpReq *req)
{
    const struct virtio_fadump_get_boot_mem *get = (const void *)req->buf;
    const size_t hdr = sizeof(struct virtio_fadump_resp);
    struct virtio_fadump_boot_mem answer = { };
    g_autoptr(GArray) boot = NULL;
    uint64_t size;
    guint i;

    if (req->out_size != sizeof(*get)) {
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    size = fadump_grant(s, le64_to_cpu(get->size));
    boot = fadump_boot_of(s, size);
    answer.size = cpu_to_le64(size);
    answer.nr_ranges = cpu_to_le32(boot->len);
    g_byte_array_append(req->data, (const uint8_t *)&answer + hdr,
                        sizeof(answer) - hdr);
    for (i = 0; i < boot->len; i++) {
        const FadumpRange *r = &g_array_index(boot, FadumpRange, i);
        struct virtio_fadump_extent extent = {
            .addr = cpu_to_le64(r->base),
            .len = cpu_to_le64(r->size),
        };

        g_byte_array_append(req->data, (const uint8_t *)&extent,
                            sizeof(extent));
    }
    if (req->in_size < hdr + req->data->len) {
        req->detail = hdr + req->data->len;
        return VIRTIO_FADUMP_S_NO_SPACE;
    }
    return VIRTIO_FADUMP_S_OK;
}

static uint32_t handle_request(VirtIOFadump *s, FadumpReq *req)
{
    const struct virtio_fadump_req *hdr = (const void *)req->buf;

    if (req->size < sizeof(*hdr) || le32_to_cpu(hdr->size) != req->out_size) {
        return VIRTIO_FADUMP_S_MALFORMED;
    }
    req->type = le32_to_cpu(hdr->type);
    switch (req->type) {
    case VIRTIO_FADUMP_REQ_REGISTER:
        return request_register(s, req);
    case VIRTIO_FADUMP_REQ_UNREGISTER:
        return request_unregister(s, req);
    case VIRTIO_FADUMP_REQ_RELEASE:
        return request_release(s, req);
    case VIRTIO_FADUMP_REQ_DISCARD:
        return request_discard(s, req);
    case VIRTIO_FADUMP_REQ_GET_BOOT_MEM:
        return request_get_boot_mem(s, req);
    default:
        req->detail = req->type;
        return VIRTIO_FADUMP_S_UNSUPPORTED;
    }
}

/* Handle the request in @elem and answer it. */
static void handle_elem(VirtIOFadump *s, VirtQueue *vq, VirtQueueElement *elem,
                        uint8_t *buf)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    struct virtio_fadump_resp resp = { 0 };
    FadumpReq req = {
        .buf = buf,
        .out_size = iov_size(elem->out_sg, elem->out_num),
        .in_size = iov_size(elem->in_sg, elem->in_num),
        .data = data,
    };
    uint32_t status;

    fadump_driver_knows(s);
    req.size = iov_to_buf(elem->out_sg, elem->out_num, 0, buf, MAX_REQ_SIZE);
    status = handle_request(s, &req);
    trace_fadump_request(req.type, req.out_size, status, req.detail);
    if (status != VIRTIO_FADUMP_S_OK) {
        qemu_log_mask(LOG_GUEST_ERROR, "fadump-dev: request %" PRIu32 " of %zu "
                      "bytes in state %" PRIu32 ": status %" PRIu32 ", detail "
                      "0x%" PRIx64 "\n", req.type, req.out_size,
                      fadump_state(s), status, req.detail);
        g_byte_array_set_size(data, 0);
    }
    resp.status = cpu_to_le32(status);
    resp.size = cpu_to_le32(data->len);
    resp.detail = cpu_to_le64(req.detail);
    iov_from_buf(elem->in_sg, elem->in_num, 0, &resp, sizeof(resp));
    if (data->len) {
        iov_from_buf(elem->in_sg, elem->in_num, sizeof(resp), data->data,
                     data->len);
    }
    virtqueue_push(vq, elem, sizeof(resp) + data->len);
    virtio_notify(VIRTIO_DEVICE(s), vq);
}

void fadump_handle_ctrl(VirtIODevice *vdev, VirtQueue *vq)
{
    g_autofree uint8_t *buf = g_malloc(MAX_REQ_SIZE);
    g_autofree VirtQueueElement *elem = NULL;

    while ((elem = virtqueue_pop(vq, sizeof(VirtQueueElement)))) {
        size_t in_size = iov_size(elem->in_sg, elem->in_num);

        if (in_size < sizeof(struct virtio_fadump_resp)) {
            virtio_error(vdev, "fadump-dev: %zu bytes for an answer, expected "
                         "at least %zu", in_size,
                         sizeof(struct virtio_fadump_resp));
            virtqueue_detach_element(vq, elem, 0);
            return;
        }
        handle_elem(VIRTIO_FADUMP(vdev), vq, elem, buf);
        g_free(g_steal_pointer(&elem));
    }
}
