/* hal_led: one light that tells a technician how the gateway is. States, not pins. Main thread only; never
 * fails. */
#ifndef POSTERN_HAL_LED_H
#define POSTERN_HAL_LED_H

enum hal_led_state { HAL_LED_OK, HAL_LED_BUSY, HAL_LED_DEGRADED, HAL_LED_FAULT };

/* name: the platform's name of the light, or "none". Errors: ERR_NOT_FOUND, ERR_DENIED, ERR_UNSUPPORTED. */
int hal_led_open(const char *name);
void hal_led_set(enum hal_led_state state);
void hal_led_close(void);

#endif
