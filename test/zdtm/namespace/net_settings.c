/* Routing rules, routes of tables of their own, neighbours and settings of a network namespace. */
#include "links.h"

#include <linux/fib_rules.h>
#include <linux/neighbour.h>

static void put_setting(const char *path, const char *text) {
    int fd = must(open(path, O_WRONLY));
    must(write(fd, text, strlen(text)));
    close(fd);
}

static void check_setting(const char *path, int wanted) {
    char text[32] = "";
    int fd = must(open(path, O_RDONLY));
    must(read(fd, text, sizeof(text) - 1));
    close(fd);
    check(atoi(text) == wanted, "%s is %s", path, text);
}

/* `ip rule add priority 500 from 10.8.0.0/16 table 77`, or its deletion, which fails where there is none. */
static int rule(int type, int flags) {
    struct fib_rule_hdr body = {.family = AF_INET, .src_len = 16, .table = 77, .action = FR_ACT_TO_TBL};
    struct link_message message = link_begin(type, flags, &body, sizeof(body));
    uint32_t priority = 500, source = htonl(0x0a080000);
    link_attribute(&message, FRA_PRIORITY, &priority, sizeof(priority));
    link_attribute(&message, FRA_SRC, &source, sizeof(source));
    return link_send(&message);
}

/* `ip route add 10.66.0.0/16 dev lo table 77` */
static int route(int type, int flags) {
    struct rtmsg body = {.rtm_family = AF_INET, .rtm_dst_len = 16, .rtm_table = 77, .rtm_protocol = RTPROT_STATIC,
                         .rtm_scope = RT_SCOPE_LINK, .rtm_type = RTN_UNICAST};
    struct link_message message = link_begin(type, flags, &body, sizeof(body));
    uint32_t destination = htonl(0x0a420000), index = 1;
    link_attribute(&message, RTA_DST, &destination, sizeof(destination));
    link_attribute(&message, RTA_OIF, &index, sizeof(index));
    return link_send(&message);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL));
    must(route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL));
    link_add("bridge9", "bridge");
    put_setting("/proc/sys/net/ipv4/conf/default/rp_filter", "2");
    put_setting("/proc/sys/net/ipv4/conf/bridge9/arp_ignore", "2");
    put_setting("/proc/sys/net/ipv4/conf/all/send_redirects", "0");
    put_setting("/proc/sys/net/ipv6/conf/default/hop_limit", "33");
    put_setting("/proc/sys/net/unix/max_dgram_qlen", "77");
    test_daemon();
    test_waitsig();
    check(if_nametoindex("bridge9") != 0, "the link is gone");
    check_setting("/proc/sys/net/ipv4/conf/default/rp_filter", 2);
    check_setting("/proc/sys/net/ipv4/conf/bridge9/arp_ignore", 2);
    check_setting("/proc/sys/net/ipv4/conf/all/send_redirects", 0);
    check_setting("/proc/sys/net/ipv6/conf/default/hop_limit", 33);
    check_setting("/proc/sys/net/unix/max_dgram_qlen", 77);
    check(route(RTM_DELROUTE, 0) == 0, "the route of table 77 is gone");
    check(route(RTM_DELROUTE, 0) < 0, "it was there twice");
    check(rule(RTM_DELRULE, 0) == 0, "the rule is gone");
    check(rule(RTM_DELRULE, 0) < 0, "it was there twice");
    return pass();
}
