/* libnvidia-ml.so.1 for tests: answers as NVML does, from the mapped file that WATTLEASE_VIRTUAL_GPUS names.
 *
 * A handle carries the driver generation under which it was given out, its card's slot and its MIG part. After the
 * file's generation has moved on every handle is void until the library has been shut down and initialised again.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9,
    GPU_IS_LOST = 15
};
enum { LACKS_INSTANT = 1, LACKS_MEAN = 2, LACKS_ENERGY = 4, LACKS_REASONS = 8, LACKS_LIMITS = 16 };
enum { FIELD_ENERGY = 83, FIELD_MEAN = 185, FIELD_INSTANT = 186, FIELD_ENERGY_NEW = 191 };

#define ALWAYS 0xFFFFFFFFu
#define SLICES_MAX 7

#pragma pack(push, 1)
struct header {
    char magic[8];
    uint32_t version, card_bytes, cards, init_error, init_hang_ms, played;
    uint64_t generation, inits, made_ns;
    char spare[8];
};
struct slice { char uuid[64]; uint32_t slices, spare; };
struct fault { uint32_t error, errors_left, hang_ms, hangs_left; };
struct card {
    char uuid[64], model[96];
    uint32_t present, lacks, min_mw, max_mw, default_mw, limit_mw, bmc_mw, idle_mw, draw_mw, mean_mw, clock_mhz,
        slices_whole;
    uint64_t energy_mj, reasons;
    struct fault read, set;
    int32_t set_delta_mw;
    uint32_t set_override_mw;
    uint64_t set_calls;
    uint32_t set_mw, set_pid;
    uint64_t outside_writes;
    struct slice slices[SLICES_MAX];
};
#pragma pack(pop)

struct field_value { /* as NVML's own: natural alignment */
    uint32_t field, scope;
    int64_t timestamp, latency_us;
    uint32_t type;
    int32_t code;
    union { double d; uint32_t ui; uint64_t ull; } value;
};

static struct header *header;
static uint64_t generation;
static int holders;

static struct card *cards(void) { return (struct card *)(header + 1); }

static void rest(uint32_t ms)
{
    struct timespec span = {ms / 1000, (long)(ms % 1000) * 1000000L};
    if (ms) nanosleep(&span, NULL);
}

static int suffer(struct fault *fault)
{
    if (fault->hangs_left) {
        if (fault->hangs_left != ALWAYS) fault->hangs_left--;
        rest(fault->hang_ms);
    }
    if (!fault->errors_left) return SUCCESS;
    if (fault->errors_left != ALWAYS) fault->errors_left--;
    return (int)fault->error;
}

static int loaded(void)
{
    if (!holders) return UNINITIALIZED;
    if (header->init_error) return (int)header->init_error;
    return generation == header->generation ? SUCCESS : UNINITIALIZED;
}

static void *handle_of(unsigned slot, unsigned part)
{
    return (void *)(uintptr_t)(generation << 16 | part << 8 | (slot + 1));
}

static unsigned part_of(void *handle) { return (unsigned)((uintptr_t)handle >> 8 & 0xFF); }

static int of_handle(void *handle, struct card **card)
{
    unsigned slot = (unsigned)((uintptr_t)handle & 0xFF) - 1;
    int code = loaded();
    if (code) return code;
    if (slot >= header->cards) return INVALID_ARGUMENT;
    if ((uint64_t)((uintptr_t)handle >> 16) != generation) return UNINITIALIZED;
    *card = &cards()[slot];
    return (*card)->present ? SUCCESS : GPU_IS_LOST;
}

/* Find the card and go through what a read of it is to suffer; the driver may be reloaded while it hangs. */
static int reading(void *handle, struct card **card)
{
    int code = of_handle(handle, card), failed;
    if (code) return code;
    failed = suffer(&(*card)->read);
    code = of_handle(handle, card);
    return code ? code : failed;
}

#define READ(handle) \
    struct card *card; \
    int code = reading(handle, &card); \
    if (code) return code
#define NEEDS(bit) if (card->lacks & (bit)) return NOT_SUPPORTED

int nvmlInitWithFlags(unsigned flags)
{
    const char *path = getenv("WATTLEASE_VIRTUAL_GPUS");
    struct stat status;
    int file;
    (void)flags;
    if (holders) { holders++; return SUCCESS; }
    header = NULL; /* an earlier map stays: a call that hangs in another thread may still look at it */
    file = path ? open(path, O_RDWR) : -1;
    if (file < 0 || fstat(file, &status)) return DRIVER_NOT_LOADED;
    header = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (header == MAP_FAILED) { header = NULL; return DRIVER_NOT_LOADED; }
    rest(header->init_hang_ms);
    if (header->init_error) return (int)header->init_error;
    header->inits++;
    generation = header->generation;
    holders = 1;
    return SUCCESS;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void)
{
    if (!holders) return UNINITIALIZED;
    holders--;
    return SUCCESS;
}

const char *nvmlErrorString(int code)
{
    static char text[32];
    snprintf(text, sizeof text, "virtual error %d", code);
    return text;
}

int nvmlSystemGetDriverVersion(char *text, unsigned length)
{
    int code = loaded();
    if (code) return code;
    snprintf(text, length, "580.0.%llu", (unsigned long long)generation);
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    int code = loaded();
    if (code) return code;
    *count = 0;
    for (unsigned slot = 0; slot < header->cards; slot++) *count += cards()[slot].present;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle)
{
    int code = loaded();
    if (code) return code;
    for (unsigned slot = 0; slot < header->cards; slot++)
        if (cards()[slot].present && !index--) {
            *handle = handle_of(slot, 0);
            return suffer(&cards()[slot].read);
        }
    return INVALID_ARGUMENT;
}

int nvmlDeviceGetIndex(void *handle, unsigned *index)
{
    READ(handle);
    *index = 0;
    for (struct card *other = cards(); other < card; other++) *index += other->present;
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned length)
{
    READ(handle);
    snprintf(text, length, "%s", part_of(handle) ? card->slices[part_of(handle) - 1].uuid : card->uuid);
    return SUCCESS;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned length)
{
    READ(handle);
    snprintf(text, length, "%s", card->model);
    return SUCCESS;
}

/* Before NVML had fields this was the one draw; a card that lacks both fields has it still, one that lacks none too. */
int nvmlDeviceGetPowerUsage(void *handle, unsigned *draw_mw)
{
    READ(handle);
    if (card->lacks & LACKS_INSTANT) NEEDS(LACKS_MEAN);
    *draw_mw = card->lacks & LACKS_MEAN ? card->draw_mw : card->mean_mw;
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *energy_mj)
{
    READ(handle);
    NEEDS(LACKS_ENERGY);
    *energy_mj = card->energy_mj;
    return SUCCESS;
}

static void fill(const struct card *card, struct field_value *field)
{
    static const uint32_t bits[3] = {LACKS_INSTANT, LACKS_MEAN, LACKS_ENERGY};
    int kind = field->field == FIELD_INSTANT ? 0 : field->field == FIELD_MEAN ? 1 : 2;
    int known = kind < 2 || field->field == FIELD_ENERGY || field->field == FIELD_ENERGY_NEW;
    field->code = !known ? INVALID_ARGUMENT : field->scope || card->lacks & bits[kind] ? NOT_SUPPORTED : SUCCESS;
    field->type = kind < 2 ? 1 : 3;
    if (kind < 2) field->value.ui = kind ? card->mean_mw : card->draw_mw;
    else field->value.ull = card->energy_mj;
}

int nvmlDeviceGetFieldValues(void *handle, int count, struct field_value *fields)
{
    READ(handle);
    for (int i = 0; i < count; i++) fill(card, &fields[i]);
    return SUCCESS;
}

int nvmlDeviceGetPowerManagementLimit(void *handle, unsigned *limit_mw)
{
    READ(handle);
    NEEDS(LACKS_LIMITS);
    *limit_mw = card->limit_mw;
    return SUCCESS;
}

int nvmlDeviceGetPowerManagementLimitConstraints(void *handle, unsigned *min_mw, unsigned *max_mw)
{
    READ(handle);
    NEEDS(LACKS_LIMITS);
    *min_mw = card->min_mw;
    *max_mw = card->max_mw;
    return SUCCESS;
}

int nvmlDeviceGetPowerManagementDefaultLimit(void *handle, unsigned *default_mw)
{
    READ(handle);
    NEEDS(LACKS_LIMITS);
    *default_mw = card->default_mw;
    return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *limit_mw)
{
    READ(handle);
    NEEDS(LACKS_LIMITS);
    *limit_mw = card->bmc_mw && card->bmc_mw < card->limit_mw ? card->bmc_mw : card->limit_mw;
    return SUCCESS;
}

int nvmlDeviceSetPowerManagementLimit(void *handle, unsigned asked_mw)
{
    struct card *card;
    int code = of_handle(handle, &card), failed;
    if (code) return code;
    failed = suffer(&card->set);
    code = of_handle(handle, &card);
    if (code || failed) return code ? code : failed;
    NEEDS(LACKS_LIMITS);
    card->set_calls++;
    card->set_mw = asked_mw;
    card->set_pid = (uint32_t)getpid();
    if (asked_mw < card->min_mw || asked_mw > card->max_mw) return INVALID_ARGUMENT;
    int64_t moved_mw = (int64_t)asked_mw + card->set_delta_mw;
    card->limit_mw = card->set_override_mw ? card->set_override_mw : (uint32_t)(moved_mw > 0 ? moved_mw : 0);
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *reasons)
{
    READ(handle);
    NEEDS(LACKS_REASONS);
    *reasons = card->reasons;
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(void *handle, int type, unsigned *clock_mhz)
{
    READ(handle);
    (void)type;
    *clock_mhz = card->clock_mhz;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending)
{
    READ(handle);
    *current = *pending = card->slices_whole != 0;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count)
{
    READ(handle);
    *count = card->slices_whole ? SLICES_MAX : 0;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **part)
{
    READ(handle);
    if (index >= SLICES_MAX || !card->slices[index].slices) return NOT_FOUND;
    *part = handle_of((unsigned)(card - cards()), index + 1);
    return SUCCESS;
}

struct attributes { /* of a MIG device, as NVML's own */
    uint32_t multiprocessors, copy_engines, decoders, encoders, jpegs, ofas, gpu_slices, compute_slices;
    uint64_t memory_mb;
};

int nvmlDeviceGetAttributes_v2(void *handle, struct attributes *attributes)
{
    READ(handle);
    if (!part_of(handle)) return NOT_SUPPORTED;
    memset(attributes, 0, sizeof *attributes);
    attributes->gpu_slices = attributes->compute_slices = card->slices[part_of(handle) - 1].slices;
    return SUCCESS;
}

struct profile {
    uint32_t id, p2p, slices, instances, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    uint64_t memory_mb;
};

int nvmlDeviceGetGpuInstanceProfileInfo(void *handle, unsigned number, struct profile *profile)
{
    READ(handle);
    if (number != 4 || card->slices_whole != 7) return NOT_SUPPORTED; /* 4 is the profile of seven slices */
    memset(profile, 0, sizeof *profile);
    profile->slices = card->slices_whole;
    profile->instances = 1;
    return SUCCESS;
}

/* What a test compares with the layout in Python: names, offsets and sizes in bytes. */
#define PLACE(kind, name) \
    at += snprintf(text + at, sizeof text - (size_t)at, "%s.%s %zu %zu\n", #kind, #name, \
                   offsetof(struct kind, name), sizeof(((struct kind *)0)->name))

const char *wattlease_layout(void)
{
    static char text[4096];
    int at = 0;
    PLACE(header, magic); PLACE(header, version); PLACE(header, card_bytes); PLACE(header, cards);
    PLACE(header, init_error); PLACE(header, init_hang_ms); PLACE(header, played); PLACE(header, generation);
    PLACE(header, inits); PLACE(header, made_ns); PLACE(header, spare);
    PLACE(slice, uuid); PLACE(slice, slices); PLACE(slice, spare);
    PLACE(fault, error); PLACE(fault, errors_left); PLACE(fault, hang_ms); PLACE(fault, hangs_left);
    PLACE(card, uuid); PLACE(card, model); PLACE(card, present); PLACE(card, lacks); PLACE(card, min_mw);
    PLACE(card, max_mw); PLACE(card, default_mw); PLACE(card, limit_mw); PLACE(card, bmc_mw); PLACE(card, idle_mw);
    PLACE(card, draw_mw); PLACE(card, mean_mw); PLACE(card, clock_mhz); PLACE(card, slices_whole);
    PLACE(card, energy_mj); PLACE(card, reasons); PLACE(card, read); PLACE(card, set); PLACE(card, set_delta_mw);
    PLACE(card, set_override_mw); PLACE(card, set_calls); PLACE(card, set_mw); PLACE(card, set_pid);
    PLACE(card, outside_writes); PLACE(card, slices);
    return text;
}
