/* Linked into every program of TC=host-tsan: races inside libraries that are known and harmless. */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    /* libmicrohttpd: flags that another thread sets are polled without a lock, then a wake-up is
     * sent through its eventfd. */
    return "race:MHD_get_timeout64\n";
}
