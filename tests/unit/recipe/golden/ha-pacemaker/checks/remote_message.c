/* Messages that nobody honest sends to a CIB listener or to pacemaker_remote (CVE-2026-10649). */
#include <crm_internal.h>

#include <assert.h>
#include <bzlib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <crm/common/remote_internal.h>
#include <crm/common/xml.h>

#define PLAIN (1024 * 1024)
#define HEADER sizeof(struct header)

struct header {
    uint32_t endian;
    uint32_t version;
    uint64_t id;
    uint64_t flags;
    uint32_t size_total;
    uint32_t payload_offset;
    uint32_t payload_compressed;
    uint32_t payload_uncompressed;
} __attribute__((packed));

static pcmk__remote_t ours;
static int theirs;

static void connect_both(void)
{
    int ends[2];

    assert(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    memset(&ours, 0, sizeof(ours));
    ours.tcp_socket = ends[0];
    theirs = ends[1];
}

static void close_both(void)
{
    free(ours.buffer);
    close(ours.tcp_socket);
    close(theirs);
}

/* Send a message as given, receive it, and return it, or NULL with what the connection says in rc. */
static xmlNode *receive(uint32_t total, uint32_t offset, uint32_t compressed, uint32_t uncompressed,
                        const char *payload, size_t size, int *rc)
{
    struct header header = { 0xBADADBBD, 1, 1, 0, total, offset, compressed, uncompressed };
    xmlNode *xml = NULL;

    connect_both();
    assert(write(theirs, &header, HEADER) == HEADER);
    assert(write(theirs, payload, size) == (ssize_t) size);
    do {
        *rc = pcmk__read_available_remote_data(&ours);
    } while ((*rc == EAGAIN) && (ours.buffer_offset < HEADER + size));
    if (*rc == pcmk_rc_ok) {
        xml = pcmk__remote_message_xml(&ours);
    }
    close_both();
    return xml;
}

static void refuse(const char *what, uint32_t total, uint32_t offset, uint32_t compressed, uint32_t uncompressed,
                   const char *payload, size_t size, int expected)
{
    int rc = pcmk_rc_ok;

    assert(receive(total, offset, compressed, uncompressed, payload, size, &rc) == NULL);
    printf("%s: %s\n", what, pcmk_rc_str(rc));
    assert(rc == expected);
}

int main(void)
{
    static char plain[PLAIN] = "<a/>";
    static char packed[PLAIN];
    unsigned int size = sizeof(packed);
    int rc = pcmk_rc_ok;
    xmlNode *xml = NULL;
    pcmk__remote_t sender = { 0 };

    assert(BZ2_bzBuffToBuffCompress(packed, &size, plain, PLAIN, 1, 0, 0) == BZ_OK);

    /* 40 bytes of header and as many of payload make 8 in 32 bits: allocated were 8, filled a whole megabyte. */
    refuse("overflow", HEADER + size, HEADER, size, UINT32_MAX - 32, packed, size, ENOTCONN);
    refuse("another", HEADER + size, UINT32_MAX - 7, size, PLAIN, packed, size, ENOTCONN);
    refuse("offset", HEADER + size, 0x10000000, 0, size, packed, size, ENOTCONN);
    refuse("total", UINT32_MAX - 16, HEADER, 0, size, packed, size, ENOTCONN);
    refuse("memory", UINT32_MAX - 16, HEADER, 0, UINT32_MAX - 16 - HEADER, packed, size, ENOTCONN);
    refuse("more compressed than sent", HEADER + size, HEADER, 2 * size, PLAIN, packed, size, ENOTCONN);
    /* This one ended the daemon by an assertion. */
    refuse("less than announced", HEADER + size, HEADER, size, PLAIN + 1, packed, size, pcmk_rc_ok);

    /* What is right still arrives. */
    xml = receive(HEADER + size, HEADER, size, PLAIN, packed, size, &rc);
    assert((rc == pcmk_rc_ok) && (xml != NULL));
    pcmk__xml_free(xml);
    connect_both();
    sender.tcp_socket = theirs;
    xml = pcmk__xe_create(NULL, "hello");
    assert(pcmk__remote_send_xml(&sender, xml) == pcmk_rc_ok);
    pcmk__xml_free(xml);
    while ((rc = pcmk__read_available_remote_data(&ours)) == EAGAIN);
    assert(rc == pcmk_rc_ok);
    xml = pcmk__remote_message_xml(&ours);
    assert((xml != NULL) && (strcmp((const char *) xml->name, "hello") == 0));
    pcmk__xml_free(xml);
    close_both();
    return 0;
}
